"""Checks the load generator: it detects every missing, repeated or reordered event."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bench.box import Box
from bench.compiled import NoCompiler, compiled
from bench.load import Loaded, Readers, reading

_HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
_EVENTS = 5


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Box:
    """A box with a load generator in it."""
    box = Box(tmp_path_factory.mktemp("bench"))
    try:
        compiled("load", box.directory)
    except NoCompiler as missing:
        pytest.skip(str(missing))  # a machine that only runs the service needs none
    return box


def frame(seq: int) -> bytes:
    mark = b"#%08d,%d#" % (seq, time.monotonic_ns())
    return b'id: 1-%d\nevent: delta\ndata: {"text":"%b"}\n\n' % (seq, mark.ljust(120, b"x"))


def chunk(body: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(body), body)


@asynccontextmanager
async def answering(*pieces: bytes) -> AsyncIterator[int]:
    """A server that answers each call with these pieces, one write each, and hangs up: its port."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1")
    async with server:
        yield server.sockets[0].getsockname()[1]


async def loaded(box: Box, pieces: Iterable[bytes], *, connections: int = 1) -> Loaded:
    async with (
        answering(*pieces) as port,
        reading(box, port, [Readers("/log", connections, _EVENTS)], limit_s=10) as load,
    ):
        return await load.result()


async def of_seqs(box: Box, *seqs: int) -> Loaded:
    return await loaded(box, [_HEAD, *(chunk(frame(seq)) for seq in seqs)])


async def test_readers_who_got_everything_once_and_in_order_have_no_faults(box: Box) -> None:
    pieces = [_HEAD, *(chunk(frame(seq)) for seq in range(_EVENTS))]
    result = await loaded(box, pieces, connections=20)
    assert result.faults == {}
    assert result.events == result.expected == 20 * _EVENTS
    assert 0 < result.groups[0].p50_ms <= result.groups[0].p99_ms <= result.groups[0].max_ms


async def test_an_event_that_never_comes_is_a_gap(box: Box) -> None:
    assert (await of_seqs(box, 0, 1, 3, 4)).faults == {"gaps": 1}


async def test_an_event_that_comes_twice_is_a_repeat(box: Box) -> None:
    assert (await of_seqs(box, 0, 1, 2, 2, 3, 4)).faults == {"repeats": 1}


async def test_swapped_events_are_a_disorder_and_not_a_gap(box: Box) -> None:
    assert (await of_seqs(box, 0, 2, 1, 3, 4)).faults == {"disorders": 1}


async def test_a_connection_that_ends_before_its_events_is_broken(box: Box) -> None:
    assert (await of_seqs(box, 0, 1, 2)).faults == {"broken": 1}


async def test_a_refusal_is_not_an_empty_stream(box: Box) -> None:
    result = await loaded(box, [b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"])
    assert result.faults == {"broken": 1, "refused": 1}


@pytest.mark.parametrize("size", [1, 7, 100, 10_000])
async def test_events_are_found_wherever_chunks_and_segments_are_cut(box: Box, size: int) -> None:
    body = b": hello\n\n" + b"".join(map(frame, range(_EVENTS)))
    chunks = (
        b"".join(chunk(body[at : at + size]) for at in range(0, len(body), size)) + b"0\r\n\r\n"
    )
    raw = _HEAD + chunks
    assert (await loaded(box, [raw])).faults == {}
    assert (await loaded(box, [raw[at : at + 3] for at in range(0, len(raw), 3)])).faults == {}


async def test_a_body_without_chunks_is_read_to_its_end(box: Box) -> None:
    head = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
    assert (await loaded(box, [head, *map(frame, range(_EVENTS))])).faults == {}


async def test_a_second_class_of_readers_is_counted_separately(box: Box, tmp_path: Path) -> None:
    pieces = [_HEAD, *(chunk(frame(seq)) for seq in range(_EVENTS))]
    readers = [Readers("/large", 3, _EVENTS), Readers("/small", 1, _EVENTS, group=1)]
    async with answering(*pieces) as port, reading(box, port, readers, limit_s=10) as load:
        result = await load.result()
    assert [group.events for group in result.groups] == [3 * _EVENTS, _EVENTS, 0, 0]
