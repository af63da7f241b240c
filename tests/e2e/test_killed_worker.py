"""A worker is killed in mid-answer while clients of every wire read: the exact text, or an error.

Never a text that was spliced together, and never a part of one that looks whole.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import httpx2
import openai
import pytest
from openai import AsyncOpenAI

from tests.support.callers import Caller
from tests.support.deployment import Deployment
from tests.support.script import Done, Finish, Script, Text, Wait, answer
from tests.support.upstream import Call, ScriptedUpstream
from tests.support.wait import wait_until
from tests.wires import folding
from tests.wires.conftest import openai_client
from tickertape.api.fanout.wire import SSE_COMMENT

pytestmark = pytest.mark.slow

KEPT, REST = "Hel", "lo, world."
ANEW, WHOLE = "Something else.", KEPT + REST
ERROR = "an error"


@dataclass(frozen=True)
class Asked:
    """A question, unlike those on other wires, and what it is asked with."""

    question: str
    client: httpx2.AsyncClient
    sdk: AsyncOpenAI

    @property
    def messages(self) -> Any:
        return [{"role": "user", "content": self.question}]


Ask = Callable[[Asked], Coroutine[Any, Any, str]]


class Dying:
    """An upstream whose first answer to each question never ends."""

    def __init__(self, upstream: ScriptedUpstream, *, can_continue: bool) -> None:
        upstream.owner = "llamacpp" if can_continue else "somebody"
        upstream.script = self._script
        self._calls: Counter[str] = Counter()

    def _script(self, call: Call) -> Script:
        *_, question = [m["content"] for m in call.body["messages"] if m["role"] == "user"]
        self._calls[question] += 1
        if self._calls[question] == 1:
            return [Text(KEPT), Wait(asyncio.Event())]
        last = call.body["messages"][-1]
        if last["role"] == "assistant":
            assert last["content"] == KEPT
            return [Text(REST), Finish(), Done()]
        # Not what it said at first: whoever joins the two has made something up.
        return answer(ANEW)


async def native(asked: Asked) -> str:
    submitted = await asked.client.post("/chat", json={"message": asked.question})
    return _folded(folding.native, await asked.client.get(submitted.json()["stream_url"]))


async def raw_text(asked: Asked) -> str:
    try:
        return (await asked.client.post("/api/gpt/get", json={"message": asked.question})).text
    except httpx2.RemoteProtocolError:
        return ERROR


async def chat(asked: Asked) -> str:
    answered = await asked.sdk.chat.completions.create(model="m", messages=asked.messages)
    return answered.choices[0].message.content or ""


async def chat_stream(asked: Asked) -> str:
    create = asked.sdk.chat.completions.create
    stream = await create(model="m", messages=asked.messages, stream=True)
    try:
        return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
    except openai.APIError:
        return ERROR


async def response(asked: Asked) -> str:
    return (await asked.sdk.responses.create(model="m", input=asked.question)).output_text


async def response_stream(asked: Asked, **fields: Any) -> str:
    create: Any = asked.sdk.responses.create
    text = ""
    try:
        async for event in await create(model="m", input=asked.question, stream=True, **fields):
            text += event.delta if event.type == "response.output_text.delta" else ""
            if event.type == "response.failed":
                return ERROR
    except openai.APIError:
        return ERROR
    return text


async def background(asked: Asked) -> str:
    responses = asked.sdk.responses
    response = await responses.create(model="m", input=asked.question, background=True)

    async def ended() -> bool:
        return (await responses.retrieve(response.id)).status == "completed"

    await wait_until(ended, timeout_s=20, description="the response is completed")
    return (await responses.retrieve(response.id)).output_text


async def background_stream(asked: Asked) -> str:
    return await response_stream(asked, background=True)


async def ai_sdk(asked: Asked) -> str:
    message = {"role": "user", "parts": [{"type": "text", "text": asked.question}]}
    body = {"id": asked.question, "messages": [message]}
    return _folded(folding.ui_message, await asked.client.post("/api/chat", json=body))


def _folded(fold: Callable[[bytes], folding.Heard], answered: httpx2.Response) -> str:
    heard = fold(answered.content.replace(SSE_COMMENT, b""))
    assert heard.is_over
    return ERROR if heard.is_error else heard.text


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
    (background_stream, ERROR, WHOLE),
    (ai_sdk, ERROR, WHOLE),
]


@pytest.mark.parametrize("can_continue", [False, True])
async def test_what_is_heard_on_every_wire_of_an_answer_whose_worker_was_killed(
    deployment: Deployment, upstream: ScriptedUpstream, *, can_continue: bool
) -> None:
    Dying(upstream, can_continue=can_continue)
    (_, url), victim = await asyncio.gather(deployment.running_api(), deployment.running_worker())
    async with Caller(url) as caller, openai_client(url) as sdk:

        async def have_begun() -> bool:
            listed = (await caller.client.get("/chat", params={"limit": 100})).json()["requests"]
            texts = [(await caller.read(each["request_id"]))["text"] for each in listed]
            return texts == [KEPT] * len(TABLE)

        asking = [
            asyncio.create_task(ask(Asked(ask.__name__, caller.client, sdk))) for ask, _, _ in TABLE
        ]
        await wait_until(have_begun, timeout_s=20, description="all answers have begun")
        await victim.kill()
        await deployment.running_worker()
        heard = await asyncio.gather(*asking)
    assert {ask.__name__: text for (ask, _, _), text in zip(TABLE, heard, strict=True)} == {
        ask.__name__: continued if can_continue else otherwise
        for ask, otherwise, continued in TABLE
    }
