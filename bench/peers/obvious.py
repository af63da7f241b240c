"""The obvious version (obvious_server.py), fed by plain XADDs."""

import contextlib
import itertools
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

from bench.box import Box
from bench.source import publish
from tests.support.servers import ValkeyServer
from tickertape.cli.up.spawn import spawn, stop

_SERVER = Path(__file__).with_name("obvious_server.py")


class Obvious:
    """Redis streams that every reader reads by itself."""

    name = "obvious"

    def __init__(self, box: Box, pid: int, port: int, redis: ValkeyServer) -> None:
        self.port = port
        self.pids = [pid]
        self._box = box
        self._redis = redis
        self._numbers = itertools.count()
        self._streams: list[str] = []

    async def open(self, count: int) -> list[str]:
        """The paths of new streams."""
        self._streams = [f"obvious:{next(self._numbers)}" for _ in range(count)]
        return [f"/read/{stream}" for stream in self._streams]

    async def publish(self, *, rate: float, events: int, group: int = 1) -> None:
        """Publish with one XADD per event."""
        await publish(
            self._box,
            "xadd",
            self._redis.port,
            self._streams,
            rate=rate,
            events=events,
            group=group,
            password=urlsplit(self._redis.url).password,
        )

    async def close(self) -> None:
        """Does nothing, because the streams end with their Redis."""


@contextlib.asynccontextmanager
async def running(box: Box, redis: ValkeyServer) -> AsyncIterator[Obvious]:
    """Run the obvious version until the end of the block."""
    with box.on_server_core():
        process = spawn(
            [sys.executable, _SERVER],
            stdout=subprocess.PIPE,
            env={**os.environ, "REDIS_URL": redis.url},
        )
    assert process.stdout is not None
    with process.stdout:
        try:
            yield Obvious(box, process.pid, int(process.stdout.readline()), redis)
        finally:
            stop(process)
