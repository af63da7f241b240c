"""The physical limit (native/limit.c): one write per client and event, on a timer."""

import asyncio
import contextlib
import subprocess
from collections.abc import AsyncIterator

from bench.box import Box
from bench.compiled import compiled
from tickertape.cli.up.spawn import spawn, stop


class Limit:
    """One log that all clients read, or many logs with one client each."""

    name = "limit"

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self.port = port
        self.pids = [process.pid]
        self._process = process
        self._are_many = False

    async def open(self, count: int) -> list[str]:
        """Paths that stand for the logs. Each publish restarts them."""
        self._are_many = count > 1
        return ["/"] * count

    async def publish(self, *, rate: float, events: int, group: int = 1) -> None:
        """Make the program write to every connected client."""
        del group
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(b"%f %d %d\n" % (rate, events, self._are_many))
        self._process.stdin.flush()
        assert await asyncio.to_thread(self._process.stdout.readline) == b"done\n"

    async def close(self) -> None:
        """Does nothing, because the program keeps no events."""


@contextlib.asynccontextmanager
async def running(box: Box) -> AsyncIterator[Limit]:
    """Run the program until the end of the block."""
    program = compiled("limit", box.directory)
    with box.on_server_core():
        process = spawn([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    with process.stdin, process.stdout:
        try:
            yield Limit(process, int(process.stdout.readline()))
        finally:
            stop(process)
