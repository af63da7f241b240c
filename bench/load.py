"""The readers: runs native/load.c, and returns what it measured on their connections."""

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
    """`connections` connections to one path, each waiting for the events 0 to `events` - 1.

    `group` (0 to 3) is the class in which their latencies are counted. With 0 events, readers only
    keep the connection open.
    """

    path: str
    connections: int
    events: int
    group: int = 0


class Latencies(msgspec.Struct, frozen=True):
    """The delays from the source to the reader, in ms, of all events of a group."""

    events: int
    p50_ms: float
    p99_ms: float
    max_ms: float


class Loaded(msgspec.Struct, frozen=True):
    """The events of all readers. `seconds` runs from the first event to the last.

    `since_ready_s` runs from when all connections were open to the last event. `cpu_s` is the CPU
    time of the load generator in that time.
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
        """The number of each kind of fault; empty if there was no fault."""
        names = ("gaps", "repeats", "disorders", "broken", "refused")
        return {name: count for name in names if (count := getattr(self, name))}


class Load:
    """A running load generator whose connections are all open."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process

    async def result(self) -> Loaded:
        """The measurements, when all events have arrived or the time limit is over."""
        return msgspec.json.decode(await self._line(), type=Loaded)

    async def cut(self) -> Loaded:
        """Close the connections, and return the measurements until now."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        return await self.result()

    async def until_ready(self) -> None:
        """Wait until every connection has a response head, or is open if they call together."""
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
    """Run readers until the end of the block. They wait for their events at most `limit_s`.

    With `together`, all connections are opened first, and then send their requests at once.
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
