"""Readers that leave, stall, come late, or resume a request that is gone."""

import asyncio
import socket

import pytest

from tests.support.keyspace import KEYS
from tests.support.rig import Rig, open_rig
from tests.support.running_api import RunningApi, running_api
from tests.support.sse import Event, SseParser, collect, open_stream, text_of
from tests.support.wait import wait_until
from tickertape.runtime.settings import Settings

WORDS = [f"{n} " for n in range(12)]


async def finished(worker: Rig) -> str:
    request_id = await worker.begin()
    await worker.type(*WORDS[:5])
    await worker.reopen()
    await worker.type(*WORDS)
    await worker.finish()
    return request_id


async def read_some(url: str, count: int, after: str | None) -> list[Event]:
    """The first `count` events of a connection that is then cut."""
    events: list[Event] = []
    async with open_stream(url, {"Last-Event-ID": after} if after else None) as stream:
        async for event in stream:
            events.append(event)
            if len(events) == count:
                break
    return events


@pytest.mark.parametrize("leaves_after", [1, 2, 3, 5, 7, 11])
async def test_a_reader_that_leaves_and_comes_back_gets_every_event_once(
    api: RunningApi, worker: Rig, leaves_after: int
) -> None:
    url = f"{api.url}/chat/{await finished(worker)}/stream"
    whole = await collect(url)
    got: list[Event] = []
    while not got or got[-1].kind != "completed":
        got += await read_some(url, leaves_after, got[-1].cursor if got else None)
    assert got == whole
    assert text_of(got) == "".join(WORDS)


async def test_a_reader_can_resume_after_every_event(api: RunningApi, worker: Rig) -> None:
    url = f"{api.url}/chat/{await finished(worker)}/stream"
    whole = await collect(url)
    for place, event in enumerate(whole[:-1], start=1):
        assert await collect(url, {"Last-Event-ID": str(event.cursor)}) == whole[place:]


async def test_a_cursor_that_was_trimmed_away_starts_over(redis_url: str) -> None:
    async with open_rig(redis_url) as worker:
        request_id = await finished(worker)
        entries = await worker.connections.ask("XRANGE", KEYS.log(request_id), "-", "+")
        trimmed = entries[2][0].decode()
        await worker.connections.ask("XTRIM", KEYS.log(request_id), "MAXLEN", 6)
    async with running_api(redis_url) as api:
        url = f"{api.url}/chat/{request_id}/stream"
        events = await collect(url, {"Last-Event-ID": trimmed})
    assert events[0].kind == "rewind"
    assert text_of(events) == "".join(WORDS[-5:])


async def test_a_cursor_beyond_the_end_starts_over(api: RunningApi, worker: Rig) -> None:
    url = f"{api.url}/chat/{await finished(worker)}/stream"
    events = await collect(url, {"Last-Event-ID": "9999999999999-7"})
    assert events[0].kind == "rewind"
    assert text_of(events) == "".join(WORDS)


async def test_an_expired_request_is_not_found_by_a_reader_that_comes_back(
    redis_url: str,
) -> None:
    async with (
        running_api(redis_url, retention_s=1) as api,
        open_rig(redis_url, api.services.settings) as worker,
    ):
        request_id = await finished(worker)
        url = f"{api.url}/chat/{request_id}/stream"
        cursor = str((await collect(url))[3].cursor)

        async def is_gone() -> bool:
            answered = await api.client.get(url, headers={"Last-Event-ID": cursor})
            return answered.status_code == 404

        await wait_until(is_gone, description="the request to expire")


async def test_a_request_erased_under_its_reader_is_gone(api: RunningApi, worker: Rig) -> None:
    request_id = await worker.begin()
    await worker.type("a")
    async with open_stream(f"{api.url}/chat/{request_id}/stream") as stream:
        events = aiter(stream)
        for _ in range(3):
            await anext(events)
        assert (await api.client.delete(f"/chat/{request_id}")).status_code == 204
        kinds = [event.kind async for event in events]
    assert kinds in (["cancelled"], ["gone"])
    assert (await api.client.get(f"/chat/{request_id}/stream")).status_code == 404


async def test_a_reader_that_stalls_is_dropped_and_can_resume(redis_url: str) -> None:
    # More than the kernel buffers for a reader, which can be some megabytes.
    big, count = "x" * 64_000, 300
    settings = Settings(max_output_bytes=64_000_000)
    async with (
        running_api(redis_url, heartbeat_s=0.2) as api,
        open_rig(redis_url, settings) as worker,
    ):
        request_id = await worker.begin()
        port = int(api.url.rpartition(":")[2])
        stuck = socket.create_connection(("127.0.0.1", port))
        stuck.sendall(
            b"GET /chat/%b/stream HTTP/1.1\r\nHost: localhost\r\n\r\n" % request_id.encode()
        )
        await wait_until(lambda: api.services.streams.open_streams == 1, description="it to read")
        for _ in range(count):
            await worker.type(big)
        await wait_until(
            lambda: api.services.streams.open_streams == 0,
            timeout_s=20,
            description="a reader that takes nothing to be dropped",
        )
        await worker.finish()
        received = await asyncio.to_thread(_read_all, stuck)
        head, _, body = received.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        seen = _events_of_chunks(body)
        assert 0 < len(seen) < count
        url = f"{api.url}/chat/{request_id}/stream"
        rest = await collect(url, {"Last-Event-ID": str(seen[-1].cursor)})
        assert text_of([*seen, *rest]) == big * count


def _read_all(stuck: socket.socket) -> bytes:
    received = b""
    with stuck:
        try:
            while data := stuck.recv(1 << 20):
                received += data
        except ConnectionResetError:
            pass
    return received


def _events_of_chunks(body: bytes) -> list[Event]:
    """The complete events in a chunked body that was cut off anywhere."""
    text = b""
    while body:
        size, found, body = body.partition(b"\r\n")
        if not found:
            break
        text += body[: int(size, 16)]
        body = body[int(size, 16) + 2 :]
    return SseParser().feed(text)
