"""Streams beyond their frames: the place in the queue, and ends at an awkward moment."""

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from typing import Any, cast

import pytest
from starlette.types import Message

from tests.support.keyspace import KEYS
from tests.support.rig import Rig
from tests.support.running_api import RunningApi, running_api
from tests.support.sse import collect, follow
from tests.support.wait import wait_until
from tickertape.api.fanout.live_connection import LiveConnection
from tickertape.api.fanout.uvicorn_handover import _KEY
from tickertape.api.protocols.native.text_wire import TEXT
from tickertape.api.protocols.native.wire import NATIVE
from tickertape.api.services import ApiTiming
from tickertape.broker.errors import Unavailable
from tickertape.broker.queue_lines import Lines, Part, QueueLines

OFTEN = ApiTiming(position_interval_s=0.01)


async def test_a_reader_of_a_queued_request_gets_each_new_place_until_it_starts(
    redis_url: str, worker: Rig
) -> None:
    ids = [await worker.submit() for _ in range(3)]
    shown: list[Any] = []
    async with (
        running_api(redis_url, timing=OFTEN) as api,
        aclosing(follow(f"{api.url}/chat/{ids[-1]}/stream")) as stream,
    ):
        async for event in stream:
            shown.append(event.data.get("position", event.kind))
            if event.kind == "position":
                await worker.claim()
                await worker.finish()
    assert shown == ["queued", 2, 1, 0, "started", "completed"]


async def test_a_place_whose_query_fails_is_published_later(
    redis_url: str, worker: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    request_id = await worker.submit()
    read = QueueLines.read
    async with running_api(redis_url, timing=OFTEN) as api:
        refused: list[int] = []

        async def flaky(
            self: QueueLines, partition: int, parts: Sequence[Part], pool: str
        ) -> Lines:
            if not refused:
                refused.append(partition)
                raise Unavailable
            return await read(self, partition, parts, pool)

        monkeypatch.setattr(QueueLines, "read", flaky)
        async with aclosing(follow(f"{api.url}/chat/{request_id}/stream")) as stream:
            assert [(await anext(stream)).kind for _ in range(2)] == ["queued", "position"]
        assert refused == [0]


async def test_a_cursor_that_cannot_be_checked_is_refused_and_retains_nothing(
    api: RunningApi, worker: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    request_id = await worker.begin()
    hub = api.services.streams.hub

    async def refuse(_: object) -> None:
        raise Unavailable

    async with hub.watch(request_id) as watched:
        monkeypatch.setattr(hub, "catch_up", refuse)
        answer = await api.client.get(f"/chat/{request_id}/stream", params={"after": "1-1"})
        assert answer.status_code == 503
        assert watched.holders == 1


async def test_a_snapshot_of_a_log_trimmed_to_its_terminal_is_the_terminal(
    api: RunningApi, worker: Rig
) -> None:
    request_id = await worker.begin()
    await worker.type("a")
    await worker.finish()
    await worker.connections.ask("XTRIM", KEYS.log(request_id), "MAXLEN", 1)
    events = await collect(f"{api.url}/chat/{request_id}/stream?snapshot=1")
    assert [event.kind for event in events] == ["completed"]


class OpenSocket:
    """A transport that accepts every write and notifies its protocol when it is closed."""

    def __init__(self) -> None:
        self.sent = b""
        self.connection = LiveConnection(cast("asyncio.Transport", self), set())

    def write(self, data: bytes) -> None:
        self.sent += data

    def close(self) -> None:
        self.connection.connection_lost(None)


async def receive() -> Message:
    return {"type": "http.disconnect"}


@pytest.mark.parametrize(
    ("dialect", "begin", "end"), [(NATIVE, b"retry: ", b"0\r\n\r\n"), (TEXT, b"", b"")]
)
async def test_a_shutdown_while_the_response_head_is_sent_ends_the_stream(
    api: RunningApi, worker: Rig, dialect: Any, begin: bytes, end: bytes
) -> None:
    streams = api.services.streams
    response = await streams.follow(await worker.begin(), dialect)
    opened = OpenSocket()

    async def send(message: Message) -> None:
        assert message["type"] == "http.response.start"
        streams.drain()

    await response({"http_version": "1.1", _KEY: lambda: opened.connection}, receive, send)
    assert begin in opened.sent
    assert opened.sent.endswith(end)
    assert streams.open_streams == 0


async def test_a_client_that_leaves_before_the_hand_over_retains_nothing(
    api: RunningApi, worker: Rig
) -> None:
    streams = api.services.streams
    request_id = await worker.begin()
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async with streams.hub.watch(request_id) as watched:
        response = await streams.follow(request_id, NATIVE)
        assert watched.holders == 2
        await response({"http_version": "1.1", _KEY: lambda: None}, receive, send)
        assert watched.holders == 1
    assert [message["type"] for message in sent] == ["http.response.start"]
    await wait_until(lambda: streams.open_streams == 0, description="nobody reads")
