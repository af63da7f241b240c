"""Checks the instruments of the hop shape: the callers detect every fault of a stream."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import pytest

from bench.asking import Asked, Plan, call, upstream
from bench.box import Box
from bench.compiled import NoCompiler, compiled
from tests.support.deployment import port_of

_HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
_PLAN = Plan(5)


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Box:
    """A box with the programs in it."""
    box = Box(tmp_path_factory.mktemp("bench"))
    try:
        for name in ("ask", "upstream"):
            compiled(name, box.directory)
    except NoCompiler as missing:
        pytest.skip(str(missing))  # a machine that only runs the service needs none
    return box


def delta(number: int) -> bytes:
    return b'data: {"text":"%d@%d "}\n\n' % (number, time.monotonic_ns())


def chunked(body: bytes, size: int = 1000) -> bytes:
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(each), each) for each in pieces) + b"0\r\n\r\n"


@asynccontextmanager
async def answering(*answers: Iterable[bytes]) -> AsyncIterator[int]:
    """A server that gives the n-th call on a connection the n-th answer: its port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for pieces in answers:
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length:")[2].split()[0])
            await reader.readexactly(length)
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1")
    async with server:
        yield server.sockets[0].getsockname()[1]


async def asked(box: Box, pieces: Iterable[bytes]) -> Asked:
    async with answering(pieces) as port:
        return await call(box, "openai", port, _PLAN, at_once=1, each=1, spread_s=0)


async def of_numbers(box: Box, *numbers: int) -> Asked:
    return await asked(box, [_HEAD + chunked(b"".join(map(delta, numbers)))])


@pytest.mark.parametrize("per_segment", [1, 8])
async def test_every_delta_of_the_upstream_is_found_once_and_in_order(
    box: Box, per_segment: int
) -> None:
    with upstream(box) as url:
        port = port_of(url.removesuffix("/v1"))
        plan = Plan(20, 1000, per_segment)
        result = await call(box, "openai", port, plan, at_once=4, each=3, spread_s=0)
    assert (result.complete, result.faulty) == (12, 0)
    assert min(result.first_us + result.each_us) >= 0


async def test_a_delta_that_never_comes_is_a_fault(box: Box) -> None:
    assert (await of_numbers(box, 0, 1, 2, 3, 4)).complete == 1
    assert (await of_numbers(box, 0, 1, 3, 4)).faulty == 1


@pytest.mark.parametrize("numbers", [(0, 1, 1, 2, 3, 4), (0, 2, 1, 3, 4), (0, 1, 2, 3)])
async def test_a_repeat_a_disorder_and_an_early_end_are_faults(
    box: Box, numbers: tuple[int, ...]
) -> None:
    assert (await of_numbers(box, *numbers)).faulty == 1


async def test_an_answer_that_breaks_off_and_a_refusal_are_faults(box: Box) -> None:
    whole = _HEAD + chunked(b"".join(map(delta, range(_PLAN.deltas))))
    assert (await asked(box, [whole[:-30]])).faulty == 1
    assert (await asked(box, [b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"])).faulty == 1


@pytest.mark.parametrize("size", [1, 7, 1000])
async def test_deltas_are_found_wherever_chunks_and_segments_are_cut(box: Box, size: int) -> None:
    raw = _HEAD + chunked(b"".join(map(delta, range(_PLAN.deltas))), size)
    assert (await asked(box, [raw])).complete == 1
    assert (await asked(box, [raw[at : at + 3] for at in range(0, len(raw), 3)])).complete == 1


async def test_a_native_caller_reads_the_stream_of_its_request(box: Box) -> None:
    told = b'{"request_id":"r","stream_url":"/chat/r/stream"}'
    accepted = b"HTTP/1.1 202 Accepted\r\ncontent-length: %d\r\n\r\n%b" % (len(told), told)
    stream = _HEAD + chunked(b"".join(map(delta, range(_PLAN.deltas))))
    async with answering([accepted], [stream]) as port:
        result = await call(box, "native", port, _PLAN, at_once=1, each=1, spread_s=0)
    assert (result.complete, result.faulty) == (1, 0)
