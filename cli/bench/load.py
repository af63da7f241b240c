"""Submits requests and reads each of them with several readers, over the client of the product."""

import asyncio
import contextlib
import itertools
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tickertape.cli.bench.findings import Stream
from tickertape.client import AsyncAnswer, AsyncClient, TickertapeError
from tickertape.client.submission import SubmitOptions

# A client has at most 100 connections, of which submits need some.
_READERS_OF_CLIENT = 80
# All requests are submitted within this time, because no crowd comes in one millisecond.
_BEGIN_WITHIN_S = 1.0
_CANCEL_WITHIN_S = 10.0


@dataclass(frozen=True)
class Load:
    """`streams` requests at a time, each with the same message and `readers` readers."""

    streams: int
    readers: int
    message: str
    options: SubmitOptions


async def run(load: Load, make_client: Callable[[], AsyncClient]) -> list[Stream]:
    """Run the load to its end. A cancellation cancels the requests that have not ended."""
    streams = [Stream() for _ in range(load.streams)]
    count = math.ceil(load.streams * load.readers / _READERS_OF_CLIENT)
    async with contextlib.AsyncExitStack() as opened:
        clients = [await opened.enter_async_context(make_client()) for _ in range(count)]
        readers = itertools.cycle(clients)
        async with asyncio.TaskGroup() as group:
            for number, stream in enumerate(streams):
                delay_s = _BEGIN_WITHIN_S * number / load.streams
                of_stream = [*itertools.islice(readers, load.readers)]
                group.create_task(_play(stream, load, of_stream, delay_s))
    return streams


async def _play(stream: Stream, load: Load, readers: list[AsyncClient], delay_s: float) -> None:
    await asyncio.sleep(delay_s)
    stream.submitted_s = time.monotonic()
    with _noting(stream, "submit"):
        answer = await readers[0].submit(load.message, **load.options)
        try:
            async with asyncio.TaskGroup() as group:
                for each in readers:
                    group.create_task(_read(stream, each.answer(answer.request_id)))
        except BaseException:
            await _cancel(answer)
            raise


async def _read(stream: Stream, answer: AsyncAnswer) -> None:
    reading = stream.tape.read()
    with _noting(stream, "read"):
        async with answer.events() as events:
            async for event in events:
                reading.receive(event, time.monotonic())
        end = reading.end
        if end is None or end.status != "completed":
            stream.errors.append(f"{end.status}: {end.code}" if end else "no end")


async def _cancel(answer: AsyncAnswer) -> None:
    """Let nobody pay for an answer that has no reader."""
    with contextlib.suppress(TickertapeError, TimeoutError):
        async with asyncio.timeout(_CANCEL_WITHIN_S):
            await answer.cancel()


@contextlib.contextmanager
def _noting(stream: Stream, call: str) -> Iterator[None]:
    try:
        yield
    except TickertapeError as error:
        stream.errors.append(f"{call}: {error}")
