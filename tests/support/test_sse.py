"""The strict SSE client: the events that it reads, its refusals, and the documented fold."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from tests.support.connection import Connection
from tests.support.sse import Event, SseParser, collect, follow, text_of
from tests.support.upstream import ScriptedUpstream

BODY = (
    b": hello\n\n"
    b"retry: 1500\n\n"
    b'id: 1-0\nevent: started\ndata: {"n":1}\n\n'
    b'id: 1-1\nevent: delta\ndata: {"text":"\xe4\xb8\x96"}\n\n'
    b'id: 1-2\nevent: completed\ndata: {"finish_reason":"stop"}\n\n'
)
EVENTS = [
    Event("1-0", "started", {"n": 1}),
    Event("1-1", "delta", {"text": "世"}),
    Event("1-2", "completed", {"finish_reason": "stop"}),
]


@pytest.mark.parametrize("size", [1, 7, len(BODY)])
def test_events_are_the_same_however_the_bytes_are_cut(size: int) -> None:
    parser = SseParser()
    events = [e for at in range(0, len(BODY), size) for e in parser.feed(BODY[at : at + size])]
    parser.close()
    assert events == EVENTS
    assert (parser.heartbeat_count, parser.retry_ms) == (1, 1500)


@pytest.mark.parametrize(
    "frame",
    [b"id: 1-0\n\n", b"foo: 1\n\n", b"data: {}\r\n\n", b"data: {}\ndata: {}\n\n", b"data\n\n"],
)
def test_a_frame_that_tickertape_never_sends_is_refused(frame: bytes) -> None:
    with pytest.raises(AssertionError):
        SseParser().feed(frame)


def test_an_end_inside_a_frame_is_refused() -> None:
    parser = SseParser()
    parser.feed(b"data: {}\n")
    with pytest.raises(AssertionError, match="inside a frame"):
        parser.close()


@pytest.mark.parametrize(
    ("kinds", "text"),
    [
        (["delta:a", "delta:b"], "ab"),
        (["delta:a", "reset", "delta:b"], "b"),
        (["delta:a", "resumed", "delta:b"], "ab"),
        (["delta:a", "rewind", "started", "delta:b"], "b"),
        (["delta:a", "snapshot:xyz", "delta:b"], "xyzb"),
        (["delta:a", "completed", "delta:b"], "a"),
    ],
)
def test_the_text_is_the_fold_of_the_events(kinds: list[str], text: str) -> None:
    split = [kind.partition(":") for kind in kinds]
    assert text_of(Event(None, kind, {"text": data}) for kind, _, data in split) == text


@pytest.fixture
async def gated_url() -> AsyncIterator[tuple[str, asyncio.Event]]:
    """A stream whose second half is sent when the test opens the gate."""
    gate = asyncio.Event()

    async def serve(connection: Connection) -> None:
        request = await connection.read_request()
        assert request is not None
        connection.start_stream({"content-type": "text/event-stream"})
        await connection.send_chunk(BODY[: BODY.index(b"id: 1-1")])
        await gate.wait()
        await connection.send_chunk(BODY[BODY.index(b"id: 1-1") :])
        connection.end_stream()

    live: set[Connection] = set()
    loop = asyncio.get_running_loop()
    async with await loop.create_server(lambda: Connection(serve, live), "127.0.0.1") as server:
        port = server.sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}/", gate
        await asyncio.gather(*(connection.abort() for connection in [*live]))


async def test_an_event_is_there_before_the_next_one_is_sent(
    gated_url: tuple[str, asyncio.Event],
) -> None:
    url, gate = gated_url
    async with aclosing(follow(url)) as events:
        seen = [await anext(events)]
        assert seen == EVENTS[:1]
        gate.set()
        assert seen + [event async for event in events] == EVENTS


async def test_anything_but_an_event_stream_is_refused(upstream: ScriptedUpstream) -> None:
    with pytest.raises(AssertionError, match="answered 404"):
        await collect(upstream.base_url)
