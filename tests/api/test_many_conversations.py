"""`POST /streams`: many conversations over one connection."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import aiohttp
import pytest

from tests.support.rig import Rig
from tests.support.running_api import RunningApi, running_api
from tests.support.sse import Event, EventStream, open_stream
from tests.support.wait import wait_until
from tickertape.broker import request_ids


async def begin(worker: Rig, conversation_id: str) -> str:
    question = [{"role": "user", "content": "hi"}]
    return await worker.begin(conversation_id=conversation_id, question=question)


async def answer(worker: Rig, conversation_id: str, text: str) -> str:
    request_id = await begin(worker, conversation_id)
    await worker.type(text)
    await worker.finish(answered=text)
    return request_id


@contextlib.asynccontextmanager
async def many(
    api: RunningApi, *, key: str | None = None, **after: str | None
) -> AsyncIterator[EventStream]:
    followed = [{"conversation_id": name, "after": cursor} for name, cursor in after.items()]
    headers = {"Authorization": f"Bearer {key}"} if key else None
    body = {"conversations": followed}
    async with open_stream(f"{api.url}/streams", headers, body=body) as stream:
        assert stream.status == 200
        yield stream


async def by_conversation(stream: EventStream, count: int) -> dict[str, list[Event]]:
    """The next `count` events of requests, by the conversation that was named before them."""
    found: dict[str, list[Event]] = {}
    current = ""
    async with aclosing(aiter(stream)) as arriving:
        async for event in arriving:
            if event.kind == "conversation":
                assert event.data["conversation_id"] != current
                current = event.data["conversation_id"]
            else:
                found.setdefault(current, []).append(event)
                if sum(map(len, found.values())) == count:
                    break
    return found


async def raw(url: str, marker: bytes, count: int, body: object = None) -> bytes:
    """The bytes of a stream until `marker` has come `count` times."""
    received = b""
    async with (
        aiohttp.ClientSession() as session,
        session.request("GET" if body is None else "POST", url, json=body) as response,
    ):
        async for piece in response.content.iter_any():
            received += piece
            if received.count(marker) == count:
                break
    return received


def with_ids(stream: bytes) -> list[bytes]:
    return [frame for frame in stream.split(b"\n\n") if frame.startswith(b"id: ")]


async def test_the_frames_are_those_of_the_single_streams(api: RunningApi, worker: Rig) -> None:
    names = ["a", "b", "c"]
    for name in names:
        await answer(worker, name, f"déjà {name}")
    followed = [{"conversation_id": name} for name in names]
    body = {"conversations": followed}
    merged = with_ids(await raw(f"{api.url}/streams", b"event: completed", 3, body))
    single = [
        frame
        for name in names
        for frame in with_ids(
            await raw(f"{api.url}/conversations/{name}/stream", b"event: completed", 1)
        )
    ]
    assert sorted(merged) == sorted(single)


async def test_each_conversation_resumes_behind_its_cursor(api: RunningApi, worker: Rig) -> None:
    await answer(worker, "a", "one")
    await answer(worker, "b", "two")
    async with many(api, a=None, b=None) as stream:
        known = await by_conversation(stream, 8)
    cursors: dict[str, str | None] = {name: known[name][1].cursor for name in ("a", "b")}
    async with many(api, key=None, **cursors) as stream:
        rest = await by_conversation(stream, 4)
    assert rest == {name: events[2:] for name, events in known.items()}


async def test_an_unknown_cursor_rewinds_only_its_conversation(
    api: RunningApi, worker: Rig
) -> None:
    await answer(worker, "a", "one")
    await answer(worker, "b", "two")
    lost = f"{request_ids.new_request_id(0)}:1732300000000-1"
    async with many(api, a=lost, b=None) as stream:
        found = await by_conversation(stream, 9)
    assert [event.kind for event in found["a"]] == [
        "rewind", "queued", "started", "delta", "completed",
    ]  # fmt: skip
    assert [event.kind for event in found["b"]] == ["queued", "started", "delta", "completed"]


async def test_a_conversation_without_requests_gets_its_first_one_live(
    api: RunningApi, worker: Rig
) -> None:
    async with many(api, a=None, b=None) as stream:
        reading = asyncio.create_task(by_conversation(stream, 4))
        await answer(worker, "b", "live")
        assert list(await reading) == ["b"]


async def test_a_quiet_stream_has_the_heartbeats_of_one_connection(redis_url: str) -> None:
    names: dict[str, str | None] = {f"c{number}": None for number in range(20)}
    async with (
        running_api(redis_url, heartbeat_s=0.2) as api,
        many(api, key=None, **names) as stream,
    ):
        reading = asyncio.create_task(by_conversation(stream, 1))
        await wait_until(lambda: stream.parser.heartbeat_count >= 3, description="heartbeats")
        assert stream.parser.heartbeat_count < 10
        api.services.streams.drain()
        assert await reading == {}
        assert stream.parser.retry_ms is not None


async def test_a_client_that_leaves_releases_every_conversation(
    api: RunningApi, worker: Rig
) -> None:
    await begin(worker, "a")
    streams = api.services.streams
    async with many(api, a=None, b=None) as stream:
        await by_conversation(stream, 2)
        assert streams.open_streams == 1
    await wait_until(lambda: streams.open_streams == 0, description="the stream is let go")


@pytest.mark.parametrize(
    ("conversations", "param"),
    [
        ([], "conversations"),
        ([{"conversation_id": f"c{number}"} for number in range(101)], "conversations"),
        ([{"conversation_id": "a"}, {"conversation_id": "a"}], "conversations"),
        ([{"conversation_id": "a", "cursor": "1-0"}], "conversations[0].cursor"),
    ],
)
async def test_a_wrong_list_is_refused(
    api: RunningApi, conversations: list[Any], param: str
) -> None:
    refused = await api.client.post("/streams", json={"conversations": conversations})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, param)


async def test_a_cursor_of_another_form_is_refused(api: RunningApi) -> None:
    body = {"conversations": [{"conversation_id": "a", "after": "nonsense"}]}
    assert (await api.client.post("/streams", json=body)).status_code == 400


async def test_a_body_that_any_page_can_send_is_refused(api: RunningApi) -> None:
    refused = await api.client.post(
        "/streams", content=b'{"conversations":[]}', headers={"Content-Type": "text/plain"}
    )
    assert refused.status_code == 415


async def test_another_tenant_has_other_conversations(redis_url: str, worker: Rig) -> None:
    await answer(worker, "a", "of another tenant")
    async with (
        running_api(redis_url, api_keys="ada:the-key-of-ada-01") as api,
        many(api, key="the-key-of-ada-01", a=None) as stream,
    ):
        reading = asyncio.create_task(by_conversation(stream, 1))
        await wait_until(lambda: stream.parser.heartbeat_count >= 1, description="the stream")
        api.services.streams.drain()
        assert await reading == {}
