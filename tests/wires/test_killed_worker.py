"""A worker that dies in mid-answer, as it is seen on every wire: the exact text, or an error.

Never a text that was spliced together, and never a part of one that looks whole.
"""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any

import httpx2
import openai
import pytest
from openai import AsyncOpenAI

from api.wires.native import COMMENT
from broker.settings import Settings
from tests.api.running import RunningApi
from tests.support.desk import working
from tests.support.script import Done, Finish, Script, Text, Wait, answer
from tests.support.upstream import Call, ScriptedUpstream
from tests.support.wait import wait_until
from tests.wires import folding
from tests.wires.pages import HI, body

pytestmark = pytest.mark.slow

KEPT, REST = "Hel", "lo, world."
ERROR = "an error"
Ask = Callable[[RunningApi, AsyncOpenAI], Coroutine[Any, Any, str]]


class Dying:
    """An upstream whose first answer never ends, and a worker that can be killed in it."""

    def __init__(self, upstream: ScriptedUpstream, *, can_continue: bool) -> None:
        self._upstream = upstream
        upstream.owner = "llamacpp" if can_continue else "somebody"
        upstream.script = self._script

    def _script(self, call: Call) -> Script:
        if len(self._upstream.calls) == 1:
            return [Text(KEPT), Wait(asyncio.Event())]
        last = call.body["messages"][-1]
        if last["role"] == "assistant":
            assert last["content"] == KEPT
            return [Text(REST), Finish(), Done()]
        # Not what it said at first: whoever joins the two has made something up.
        return answer("Something else.")

    async def has_begun(self) -> bool:
        return bool(self._upstream.calls) and self._upstream.calls[0].deltas_sent == 1


async def raw_text(api: RunningApi, sdk: AsyncOpenAI) -> str:
    try:
        return (await api.client.post("/api/gpt/get", json={"message": "hi"})).text
    except httpx2.RemoteProtocolError:
        return ERROR


async def native(api: RunningApi, sdk: AsyncOpenAI) -> str:
    followed = await api.client.get(f"/chat/{await api.submit()}/stream")
    return text_or_error(folding.native(without_comments(followed)))


def without_comments(answer: httpx2.Response) -> bytes:
    return answer.content.replace(COMMENT, b"")


def text_or_error(heard: folding.Heard) -> str:
    assert heard.is_over
    return ERROR if heard.is_error else heard.text


async def chat(api: RunningApi, sdk: AsyncOpenAI) -> str:
    messages: Any = [{"role": "user", "content": "hi"}]
    answered = await sdk.chat.completions.create(model="m", messages=messages)
    return answered.choices[0].message.content or ""


async def chat_stream(api: RunningApi, sdk: AsyncOpenAI) -> str:
    messages: Any = [{"role": "user", "content": "hi"}]
    stream = await sdk.chat.completions.create(model="m", messages=messages, stream=True)
    try:
        return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
    except openai.APIError:
        return ERROR


async def response(api: RunningApi, sdk: AsyncOpenAI) -> str:
    return (await sdk.responses.create(model="m", input="hi")).output_text


async def response_stream(api: RunningApi, sdk: AsyncOpenAI, **fields: Any) -> str:
    stream: Any = await sdk.responses.create(model="m", input="hi", stream=True, **fields)
    text = ""
    try:
        async for event in stream:
            text += event.delta if event.type == "response.output_text.delta" else ""
            if event.type == "response.failed":
                return ERROR
    except openai.APIError:
        return ERROR
    return text


async def background(api: RunningApi, sdk: AsyncOpenAI) -> str:
    asked = await sdk.responses.create(model="m", input="hi", background=True)

    async def ended() -> bool:
        return (await sdk.responses.retrieve(asked.id)).status == "completed"

    await wait_until(ended, description="the response is completed")
    return (await sdk.responses.retrieve(asked.id)).output_text


async def background_stream(api: RunningApi, sdk: AsyncOpenAI) -> str:
    return await response_stream(api, sdk, background=True)


async def ai_sdk(api: RunningApi, sdk: AsyncOpenAI) -> str:
    answered = await api.client.post("/api/chat", json=body("c", HI))
    return text_or_error(folding.ui_message(without_comments(answered)))


ANEW, WHOLE = "Something else.", KEPT + REST
# What is heard where the upstream cannot go on from a partial answer, and where it can.
# docs/wires.md has this table, too.
TABLE: list[tuple[Ask, str, str]] = [
    (native, ANEW, ANEW),
    (raw_text, ERROR, WHOLE),
    (chat, ANEW, ANEW),
    (chat_stream, ERROR, WHOLE),
    (response, ANEW, ANEW),
    (response_stream, ERROR, WHOLE),
    (background, ANEW, ANEW),
    (background_stream, ERROR, ERROR),
    (ai_sdk, ERROR, WHOLE),
]


@pytest.mark.parametrize("can_continue", [False, True])
@pytest.mark.parametrize(
    ("ask", "else_heard", "continued"), TABLE, ids=[row[0].__name__ for row in TABLE]
)
async def test_what_is_heard_of_an_answer_whose_worker_was_killed(
    api: RunningApi,
    sdk: AsyncOpenAI,
    redis_url: str,
    upstream: ScriptedUpstream,
    ask: Ask,
    else_heard: str,
    continued: str,
    *,
    can_continue: bool,
) -> None:
    dying = Dying(upstream, can_continue=can_continue)
    settings = Settings(openai_base_url=upstream.base_url, openai_model="m", lease_s=0.5)
    async with contextlib.AsyncExitStack() as victim:
        await victim.enter_async_context(working(redis_url, settings))
        asking = asyncio.create_task(ask(api, sdk))
        await wait_until(dying.has_begun, description="the answer has begun")
        await wait_until(lambda: _is_logged(api), description="its text is in the log")
    async with working(redis_url, settings):
        assert await asking == (continued if can_continue else else_heard)


async def _is_logged(api: RunningApi) -> bool:
    listed = (await api.client.get("/chat")).json()["requests"]
    return bool((await api.read(listed[0]["request_id"]))["text"] == KEPT)
