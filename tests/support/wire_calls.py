"""A call on each wire by its real client, and the text that the client shows, or ERROR."""

import asyncio
import contextlib
import secrets
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Any

import httpx2
import openai
from openai import AsyncOpenAI

from tests.support.sse import TERMINAL_EVENTS, Event, SseParser, text_of
from tests.wires import folding
from tickertape.api.fanout.wire import SSE_COMMENT
from tickertape.client import AsyncClient, Timing

ERROR = "an error"
_TIMING = Timing(longest_wait_s=0.05)
_BACK_WITHIN_S = 0.05


@dataclass(frozen=True)
class Asked:
    """A question, unlike those on other wires, and what it is asked with."""

    question: str
    client: httpx2.AsyncClient
    sdk: AsyncOpenAI
    poll_s: float = 0.05

    @property
    def messages(self) -> Any:
        return [{"role": "user", "content": self.question}]


Ask = Callable[[Asked], Coroutine[Any, Any, str]]


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

    while response.status != "completed":
        await asyncio.sleep(asked.poll_s)
        response = await responses.retrieve(response.id)
    return response.output_text


async def background_stream(asked: Asked) -> str:
    return await response_stream(asked, background=True)


async def ai_sdk(asked: Asked) -> str:
    message = {"role": "user", "parts": [{"type": "text", "text": asked.question}]}
    body = {"id": asked.question, "messages": [message]}
    return _folded(folding.ui_message, await asked.client.post("/api/chat", json=body))


def _run_of(asked: Asked) -> dict[str, Any]:
    """The body of a run, whose ids are new: a call with the ids of another one joins its run."""
    message = {"id": "u", "role": "user", "content": asked.question}
    return {"threadId": secrets.token_hex(8), "runId": secrets.token_hex(8), "messages": [message]}


async def agui(asked: Asked) -> str:
    """A run of AG-UI by a client that does not come back, as `@ag-ui/client`."""
    return _folded(folding.agui, await asked.client.post("/agui", json=_run_of(asked)))


async def resuming_agui(asked: Asked) -> str:
    """A run of AG-UI by a client that comes back behind the last id, as TanStack AI does."""
    body, content = _run_of(asked), b""
    while not (heard := folding.agui(content)).is_over:
        with contextlib.suppress(httpx2.TransportError):
            content += await _run_on(asked.client, body, content)
        await asyncio.sleep(_BACK_WITHIN_S)
    return ERROR if heard.is_error else heard.text


async def _run_on(client: httpx2.AsyncClient, body: dict[str, Any], content: bytes) -> bytes:
    """The further events of a run, up to the last one with an id."""
    ids = [line.removeprefix(b"id: ") for line in content.split(b"\n") if line.startswith(b"id: ")]
    headers = {"Last-Event-ID": ids[-1].decode()} if ids else {}
    more = b""
    async with client.stream("POST", "/agui", json=body, headers=headers) as answered:
        if answered.status_code == httpx2.codes.SERVICE_UNAVAILABLE:
            return b""
        assert answered.status_code == httpx2.codes.OK, answered
        with contextlib.suppress(httpx2.TransportError):
            async for data in answered.aiter_raw():
                more += data
    whole = more.replace(SSE_COMMENT, b"").split(b"\n\n")[:-1]
    while whole and not whole[-1].startswith(b"id: "):
        whole.pop()
    return b"".join(frame + b"\n\n" for frame in whole)


async def ai_sdk_7(asked: Asked) -> str:
    message = {"role": "user", "parts": [{"type": "text", "text": asked.question}]}
    body = {"id": asked.question, "messages": [message]}
    fold = partial(folding.ui_message, resets=True)
    return _folded(fold, await asked.client.post("/api/v7/chat", json=body))


def _folded(fold: Callable[[bytes], folding.Heard], answered: httpx2.Response) -> str:
    heard = fold(answered.content.replace(SSE_COMMENT, b""))
    assert heard.is_over
    return ERROR if heard.is_error else heard.text


async def resuming_native(asked: Asked) -> str:
    """The native wire as the Python client reads it, over as many connections as it takes."""
    async with _client(asked) as client:
        answer = await client.submit(asked.question)
        return (await answer.wait()).text


async def conversation(asked: Asked) -> str:
    """A conversation as the Python client follows it."""
    name = secrets.token_hex(8)
    events: list[Event] = []
    async with _client(asked) as client:
        await client.submit(asked.question, conversation_id=name)
        async with client.follow_conversation(name) as followed:
            async for event in followed:
                events.append(Event(event.cursor, event.kind, event.data))
                if event.is_end:
                    break
    return _shown(events)


async def many_streams(asked: Asked) -> str:
    """A conversation as a browser follows all of them, over as many connections as it takes."""
    name = secrets.token_hex(8)
    async with _client(asked) as client:
        await client.submit(asked.question, conversation_id=name)
    events: list[Event] = []
    while not events or events[-1].kind not in TERMINAL_EVENTS:
        with contextlib.suppress(httpx2.TransportError):
            await _read_on(asked.client, name, events)
        await asyncio.sleep(_BACK_WITHIN_S)
    return _shown(events)


async def _read_on(client: httpx2.AsyncClient, name: str, events: list[Event]) -> None:
    after = next((event.cursor for event in reversed(events) if event.cursor), None)
    body = {"conversations": [{"conversation_id": name, "after": after}]}
    async with client.stream("POST", "/streams", json=body) as answered:
        if answered.status_code == httpx2.codes.SERVICE_UNAVAILABLE:
            return
        assert answered.status_code == httpx2.codes.OK, answered
        parser = SseParser()
        async for data in answered.aiter_raw():
            events += [event for event in parser.feed(data) if event.kind != "conversation"]
            if events and events[-1].kind in TERMINAL_EVENTS:
                return


def _shown(events: list[Event]) -> str:
    return text_of(events) if events[-1].kind == "completed" else ERROR


def _client(asked: Asked) -> AsyncClient:
    key = asked.client.headers.get("Authorization", "").removeprefix("Bearer ")
    return AsyncClient(str(asked.client.base_url), key, timing=_TIMING)


# The wires that cannot resume, whose calls a stopping API finishes.
FOREGROUND: tuple[Ask, ...] = (
    raw_text, chat, chat_stream, response, response_stream, ai_sdk, agui,
)  # fmt: skip
# The wires whose clients come back to another API process.
RESUMING: tuple[Ask, ...] = (
    background, background_stream, resuming_native, conversation, many_streams, resuming_agui,
)  # fmt: skip
