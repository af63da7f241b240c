"""A call has the same answer from a quick route as from the FastAPI route that it is made of."""

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Cookie
from httpx2 import Response as Answer

from tests.support.rig import Rig
from tests.support.running_api import RunningApi, running_api
from tickertape.api import app
from tickertape.api.protocols.quick_route import quick_routes

CHAT = {"messages": [{"role": "user", "content": "hi"}], "stream": True}
UI = {
    "id": "c1",
    "messages": [{"id": "m1", "role": "user", "parts": [{"type": "text", "text": "hi"}]}],
}
GOOD = [
    ("/chat", {"message": "hi"}, {}),
    ("/chat", {"message": "hi", "conversation_id": "c1"}, {}),
    ("/chat", {"message": "hi"}, {"Idempotency-Key": "one"}),
    ("/chat", {"message": "hi"}, {"Idempotency-Key": "one"}),
]
REFUSED: list[tuple[str, Any, dict[str, str]]] = [
    ("/chat", {"message": "other"}, {"Idempotency-Key": "one"}),
    ("/chat", {"message": "hi"}, {"Idempotency-Key": "two words"}),
    ("/chat", {"message": 1}, {"Idempotency-Key": "two words"}),
    ("/chat", {}, {}),
    ("/chat", {"message": "hi", "unknown": 1}, {}),
    ("/chat", {"message": "hi", "role": "nobody"}, {}),
    ("/chat", {"message": "a\0b"}, {}),
    ("/chat", [], {}),
    ("/chat", b"", {}),
    ("/chat", b"0", {}),
    ("/chat", b'{"message": "hi"', {}),
    ("/chat", b"\xff\xfe\xfa", {}),
    ("/chat", b"[" * 100_000, {}),
    ("/chat", b"[" + b"1," * 200_000 + b"1]", {}),
    ("/chat", b'{"message": "hi"}', {"Content-Type": "text/plain"}),
    ("/chat/", {"message": "hi"}, {}),
    ("/v1/chat/completions", {**CHAT, "messages": []}, {}),
    ("/v1/chat/completions", CHAT, {"X-Cancel-On-Disconnect": "perhaps"}),
    ("/v1/chat/completions", b"{", {}),
    ("/v1/responses", {"input": 1}, {}),
    ("/v1/responses", {"input": "hi", "previous_response_id": "nothing"}, {}),
    ("/api/chat", {**UI, "messages": 1}, {}),
    ("/api/v7/chat", b"{", {}),
    ("/agui", {}, {}),
    ("/agui?on_interruption=perhaps", {}, {}),
]
STREAMS = [
    ("/chat/{id}/stream", {}),
    ("/chat/{id}/stream", {"Last-Event-ID": "{first}"}),
    ("/chat/{id}/stream?after={first}", {}),
    ("/chat/{id}/stream?snapshot=true", {}),
    ("/chat/{id}/stream?format=text", {}),
    ("/chat/{id}/stream?format=other", {}),
    ("/chat/{id}/stream?snapshot=perhaps&format=other", {}),
    ("/chat/{id}/stream?after=nonsense", {}),
    ("/chat/r0_nothing/stream", {}),
    ("/chat/%2E%2E/stream", {}),
]
_ID = re.compile(r"r\d+_[a-z2-7]+")


@pytest.fixture
async def apis(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[RunningApi, RunningApi]]:
    """An API with quick routes, and one without them."""
    async with AsyncExitStack() as stack:
        quick = await stack.enter_async_context(running_api(redis_url))
        plain = tuple(replace(each, quick=()) for each in app._PROTOCOLS)
        monkeypatch.setattr(app, "_PROTOCOLS", plain)
        yield quick, await stack.enter_async_context(running_api(redis_url))


def told(answer: Answer) -> tuple[int, list[tuple[bytes, bytes]], str]:
    """The whole answer without what differs from call to call: ids of requests, and the date."""
    headers = [(name, _ID.sub("ID", value.decode()).encode()) for name, value in answer.headers.raw]
    return (
        answer.status_code,
        [each for each in headers if each[0].lower() != b"date"],
        _ID.sub("ID", answer.text),
    )


async def post(api: RunningApi, path: str, body: Any, headers: Mapping[str, str]) -> Answer:
    content = body if isinstance(body, bytes) else None
    json = None if content is not None else body
    kind = {"Content-Type": "application/json"} if json is None else {}
    return await api.client.post(path, content=content, json=json, headers={**kind, **headers})


async def test_a_quick_route_accepts_and_refuses_a_call_as_fastapi_does(
    apis: tuple[RunningApi, RunningApi],
) -> None:
    await post(apis[0], "/chat", {"message": "hi"}, {"Idempotency-Key": "one"})
    for path, body, headers in REFUSED:
        quick, plain = [told(await post(each, path, body, headers)) for each in apis]
        assert quick == plain, path
        assert quick[0] >= 400, path
    for path, body, headers in GOOD:
        keys = [{n: f"{v}-{k}" for n, v in headers.items()} for k in range(2)]
        quick, plain = [
            told(await post(api, path, body, key)) for api, key in zip(apis, keys, strict=True)
        ]
        assert quick == plain, path
        assert quick[0] < 300, path


async def test_a_quick_route_opens_a_stream_as_fastapi_does(
    apis: tuple[RunningApi, RunningApi], worker: Rig
) -> None:
    request_id = (await post(apis[0], "/chat", {"message": "hi"}, {})).json()["request_id"]
    await worker.claim()
    await worker.type("Hello")
    await worker.finish()
    events = (await apis[1].client.get(f"/chat/{request_id}/stream")).text
    names = {"id": request_id, "first": re.findall("^id: ?(.*)$", events, re.MULTILINE)[0]}
    for path, headers in STREAMS:
        filled = {name: value.format(**names) for name, value in headers.items()}
        quick, plain = [
            told(await each.client.get(path.format(**names), headers=filled)) for each in apis
        ]
        assert quick == plain, path


def test_a_route_with_a_parameter_that_only_fastapi_finds_is_no_quick_route() -> None:
    router = APIRouter()

    @router.get("/cookie")
    async def taste(cookie: Annotated[str, Cookie()] = "") -> None:
        """Use a cookie."""

    with pytest.raises(TypeError, match="/cookie"):
        quick_routes([router], [taste])


def test_the_calls_that_come_most_often_have_quick_routes() -> None:
    _, quick = app._completed_routes(app._PROTOCOLS)
    assert {each.path for each in quick} == {
        "/chat",
        "/chat/{request_id}/stream",
        "/v1/chat/completions",
        "/v1/responses",
        "/api/chat",
        "/api/v7/chat",
        "/agui",
    }
