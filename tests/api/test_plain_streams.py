"""Streams as plain ASGI, for clients of HTTP/1.0 and servers without the hand-over."""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from email.message import Message
from email.parser import HeaderParser
from urllib.parse import urlsplit

import pytest
from starlette.types import Message as AsgiMessage

from tests.support.keyspace import KEYS
from tests.support.rig import Rig
from tests.support.running_api import RunningApi, running_api
from tests.support.sse import Event, SseParser, collect, text_of
from tests.support.wait import wait_until
from tickertape.api.fanout.stream_response import StreamResponse
from tickertape.api.fanout.wire import CUT, Frame


class OldClient:
    """An open stream over HTTP/1.0, read event by event."""

    def __init__(self, headers: Message, content: asyncio.StreamReader) -> None:
        self.headers = headers
        self.content = content
        self.parser = SseParser()
        self._parsed: deque[Event] = deque()

    async def next(self) -> Event | None:
        """The next event, None at an orderly end."""
        while not self._parsed:
            data = await self.content.read(65536)
            if not data:
                self.parser.close()
                return None
            self._parsed.extend(self.parser.feed(data))
        return self._parsed.popleft()

    async def until(self, kind: str) -> list[Event]:
        """The events up to the first one of a kind; fails if the stream ends before it."""
        events: list[Event] = []
        while not events or events[-1].kind != kind:
            event = await self.next()
            assert event is not None, f"the stream ended after {events}"
            events.append(event)
        return events

    async def breaks_off(self) -> bool:
        """Whether the connection was reset instead of an orderly end."""
        with pytest.raises(ConnectionResetError):
            await self.content.read()
        return True


@contextlib.asynccontextmanager
async def old_client(api: RunningApi, path: str) -> AsyncIterator[OldClient]:
    # A request of HTTP/1.0 is not handed over. Its body is not framed: only a reset connection
    # tells a stream that was broken off from one that ended, and aiohttp hides it.
    address = urlsplit(api.url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    try:
        writer.write(f"GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
        status, _, head = (await reader.readuntil(b"\r\n\r\n")).decode().partition("\r\n")
        assert status == "HTTP/1.1 200 OK"
        yield OldClient(HeaderParser().parsestr(head), reader)
    finally:
        writer.close()


async def test_a_client_whose_connection_is_not_handed_over_gets_the_same_events(
    api: RunningApi, worker: Rig
) -> None:
    request_id = await worker.begin()
    path = f"/chat/{request_id}/stream"
    async with old_client(api, path) as client:
        assert "Transfer-Encoding" not in client.headers
        assert client.headers["X-Request-Id"] == request_id
        assert client.headers["Content-Type"].startswith("text/event-stream")
        begin = await client.until("started")
        await worker.type("Hel")
        first = await client.until("delta")
        await worker.type("lo")
        await worker.finish()
        events = begin + first + await client.until("completed")
        assert await client.next() is None
    assert events == await collect(api.url + path)
    assert text_of(events) == "Hello"


async def test_a_long_replay_is_sent_completely_in_several_pieces(
    api: RunningApi, worker: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tickertape.api.fanout.frames.FRAMES_PER_BLOCK", 3)
    request_id = await worker.begin()
    await worker.type(*"abcdefg")
    await worker.finish()
    async with old_client(api, f"/chat/{request_id}/stream") as client:
        assert text_of(await client.until("completed")) == "abcdefg"


async def test_a_quiet_stream_sends_heartbeats(redis_url: str, worker: Rig) -> None:
    request_id = await worker.begin()
    async with (
        running_api(redis_url, heartbeat_s=0.1) as api,
        old_client(api, f"/chat/{request_id}/stream") as client,
    ):
        reading = asyncio.create_task(client.until("delta"))
        await wait_until(
            lambda: client.parser.heartbeat_count >= 2, description="heartbeats arrive"
        )
        await worker.type("a")
        assert text_of(await reading) == "a"


async def test_a_client_that_leaves_releases_its_log(api: RunningApi, worker: Rig) -> None:
    request_id = await worker.begin()
    streams = api.services.streams
    async with streams.hub.watch(request_id) as watched:
        async with old_client(api, f"/chat/{request_id}/stream") as client:
            await client.until("started")
            assert (streams.open_streams, watched.holders) == (1, 2)
        await wait_until(
            lambda: (streams.open_streams, watched.holders) == (0, 1), description="it is let go"
        )
        assert not watched.wakes
        assert not watched.notice_listeners


async def test_the_stream_of_a_log_that_was_replaced_starts_over(
    api: RunningApi, worker: Rig
) -> None:
    request_id = await worker.begin()
    await worker.type("a")
    saved = await worker.connections.ask("DUMP", KEYS.log(request_id))
    async with old_client(api, f"/chat/{request_id}/stream") as client:
        events = await client.until("delta")
        await worker.type("b")
        events += await client.until("delta")
        assert text_of(events) == "ab"
        await worker.connections.ask("RESTORE", KEYS.log(request_id), 0, saved, "REPLACE")
        assert (await client.until("rewind"))[-1].data == {"reason": "log_changed"}
        assert text_of(await client.until("delta")) == "a"


async def test_raw_text_is_aborted_when_its_log_was_replaced(api: RunningApi, worker: Rig) -> None:
    request_id = await worker.begin()
    await worker.type("a")
    saved = await worker.connections.ask("DUMP", KEYS.log(request_id))
    await worker.type("b")
    async with old_client(api, f"/chat/{request_id}/stream?format=text") as client:
        assert await client.content.readexactly(2) == b"ab"
        await worker.connections.ask("RESTORE", KEYS.log(request_id), 0, saved, "REPLACE")
        assert await client.breaks_off()


async def test_raw_text_of_a_failed_request_is_aborted(api: RunningApi, worker: Rig) -> None:
    request_id = await worker.begin()
    async with old_client(api, f"/chat/{request_id}/stream?format=text") as client:
        await worker.type("half")
        assert await client.content.readexactly(4) == b"half"
        await worker.fail()
        assert await client.breaks_off()


async def test_a_log_that_is_erased_under_its_reader_is_gone(api: RunningApi, worker: Rig) -> None:
    request_id = await worker.begin()
    path = f"/chat/{request_id}/stream"
    async with old_client(api, path) as client, old_client(api, f"{path}?format=text") as text:
        await client.until("started")
        await worker.connections.ask("DEL", KEYS.log(request_id))
        await client.until("gone")
        assert await client.next() is None
        assert await text.breaks_off()


async def test_a_shutdown_ends_event_streams_with_a_retry_and_aborts_raw_text(
    api: RunningApi, worker: Rig
) -> None:
    request_id = await worker.begin()
    await worker.type("half")
    path = f"/chat/{request_id}/stream"
    async with old_client(api, path) as client, old_client(api, f"{path}?format=text") as text:
        await client.until("delta")
        assert await text.content.readexactly(4) == b"half"
        api.services.streams.drain()
        assert await client.next() is None
        assert client.parser.retry_ms is not None
        assert await text.breaks_off()


async def test_the_stream_of_a_conversation_has_a_plain_body(api: RunningApi, worker: Rig) -> None:
    await api.submit(conversation_id="talk")
    await worker.claim()
    await worker.type("Hello")
    await worker.finish()
    async with old_client(api, "/conversations/talk/stream") as client:
        assert text_of(await client.until("completed")) == "Hello"
        api.services.streams.drain()
        assert await client.next() is None
        assert "Transfer-Encoding" not in client.headers


async def test_notices_reach_a_plain_stream(api: RunningApi, worker: Rig) -> None:
    request_id = await worker.begin()
    async with old_client(api, f"/chat/{request_id}/stream") as client:
        await client.until("started")
        assert worker.lease is not None
        await worker.queue.retry(worker.lease, 60_000, "upstream_rate_limited")
        assert (await client.until("waiting"))[-1].data["reason"] == "upstream_rate_limited"


class Written:
    """A plain stream without a server: its messages, and whether it released its tape."""

    def __init__(self, *frames: Frame, goes_on: bool = False) -> None:
        self.sent: list[AsgiMessage] = []
        self.left_count = 0
        self.is_open = self.is_released = False
        self.taken_at_most = 100
        self.stall_limit_s = 30.0
        self.goes_away = asyncio.Event()
        self._frames = frames
        self._goes_on = goes_on

    async def run(self) -> None:
        resources = AsyncExitStack()
        resources.callback(self._release)
        response = StreamResponse(
            self._frames_written(),
            resources,
            on_left=self._leave,
            stall_limit_s=self.stall_limit_s,
        )
        async with asyncio.timeout(10):
            await response({"type": "http"}, self._receive, self._send)
        assert not self.is_open
        assert self.is_released

    @property
    def bodies(self) -> list[bytes]:
        return [message["body"] for message in self.sent[1:]]

    @property
    def is_whole(self) -> bool:
        return self.sent[-1].get("more_body") is False

    async def _frames_written(self) -> AsyncIterator[Frame]:
        self.is_open = True
        try:
            for frame in self._frames:
                yield frame
            if self._goes_on:
                await asyncio.Event().wait()
        finally:
            self.is_open = False

    async def _receive(self) -> AsgiMessage:
        await self.goes_away.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: AsgiMessage) -> None:
        if len(self.sent) == self.taken_at_most:
            await asyncio.Event().wait()
        self.sent.append(message)

    def _release(self) -> None:
        self.is_released = True

    async def _leave(self) -> None:
        assert not self.is_released
        self.left_count += 1


async def test_a_stream_that_ends_is_complete_and_reports_no_departure() -> None:
    written = Written(b"a", b"b")
    await written.run()
    assert written.bodies == [b"a", b"b", b""]
    assert written.is_whole
    assert written.left_count == 0


async def test_a_stream_that_is_cut_has_no_last_chunk_and_reports_no_departure() -> None:
    written = Written(b"a", CUT)
    await written.run()
    assert written.bodies == [b"a"]
    assert not written.is_whole
    assert written.left_count == 0


async def test_a_client_that_leaves_ends_the_stream_and_is_reported() -> None:
    written = Written(b"a", goes_on=True)
    running = asyncio.create_task(written.run())
    await wait_until(lambda: len(written.sent) == 2, description="the first frame is out")
    written.goes_away.set()
    await running
    assert written.bodies == [b"a"]
    assert written.left_count == 1


@pytest.mark.parametrize("taken", [0, 1, 2], ids=["the head", "a frame", "the end"])
async def test_a_client_that_stalls_for_too_long_counts_as_gone(
    taken: int,
) -> None:
    written = Written(b"a")
    written.stall_limit_s = 0.01
    written.taken_at_most = taken
    await written.run()
    assert len(written.sent) == taken
    assert written.left_count == 1
