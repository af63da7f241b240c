"""The readers: runs native/load.c and says what it saw on their connections."""

import asyncio
import contextlib
import subprocess
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from bench.box import Box
from bench.compiled import compiled
from tickertape.cli.up.spawn import spawn, stop

# Connections are opened 64 at a time, and an endpoint may take 5 ms to answer.
_CONNECT_LIMIT_S = 120


@dataclass(frozen=True)
class Readers:
    """So many connections to one path, each waiting for the events 0 to `events` - 1.

    `group` (0 to 3) is the class that their latencies are counted in. With 0 events they only
    hold the connection.
    """

    path: str
    connections: int
    events: int
    group: int = 0


class Latencies(msgspec.Struct, frozen=True):
    """From the source's stamp to the reader, in ms, over all events of a group."""

    events: int
    p50_ms: float
    p99_ms: float
    max_ms: float


class Loaded(msgspec.Struct, frozen=True):
    """What all readers got. `seconds` runs from their first event to their last.

    `since_ready_s` runs to the last one too, from when all connections were there, and so does
    `cpu_s`, which is the load generator's own.
    """

    events: int
    expected: int
    gaps: int
    repeats: int
    disorders: int
    broken: int
    refused: int
    seconds: float
    since_ready_s: float
    cpu_s: float
    groups: list[Latencies]

    @property
    def faults(self) -> dict[str, int]:
        """What no reader may see; empty when none did."""
        names = ("gaps", "repeats", "disorders", "broken", "refused")
        return {name: count for name in names if (count := getattr(self, name))}


class Load:
    """A running load generator whose connections are all there."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process

    async def result(self) -> Loaded:
        """What was seen, once all events have come or the time is over."""
        return msgspec.json.decode(await self._line(), type=Loaded)

    async def cut(self) -> Loaded:
        """What was seen until now; the connections are closed."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        return await self.result()

    async def until_ready(self) -> None:
        """Return when every connection has its response head, or is connected to ask together."""
        async with asyncio.timeout(_CONNECT_LIMIT_S):
            assert await self._line() == b"ready\n"

    async def _line(self) -> bytes:
        assert self.process.stdout is not None
        return await asyncio.to_thread(self.process.stdout.readline)


@contextlib.asynccontextmanager
async def reading(
    box: Box,
    port: int,
    readers: Sequence[Readers],
    *,
    limit_s: float = 600,
    together: bool = False,
) -> AsyncIterator[Load]:
    """Readers for the length of the block. They wait for their events `limit_s` at most.

    With `together` all connections are there first, and then ask in the same instant.
    """
    argv: list[str | Path] = [compiled("load", box.directory), str(port), str(limit_s)]
    process = spawn(
        [*argv, *(["together"] if together else [])], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None
    lines = [f"{each.group} {each.connections} {each.events} {each.path}\n" for each in readers]
    try:
        process.stdin.write(("".join(lines) + "\n").encode())
        process.stdin.flush()
        load = Load(process)
        await load.until_ready()
        yield load
    finally:
        stop(process)
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
