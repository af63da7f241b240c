"""The npm package resumable-stream behind Node's own HTTP server.

Its producer keeps the stream, and publishes each piece through Redis once for every reader. So each
reader costs the producer, too. The producer is a separate process here, on the server's core.
"""

import asyncio
import contextlib
import itertools
import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

from bench.box import Box
from bench.peers.peer import Absent
from tests.support.servers import ValkeyServer
from tickertape.cli.up.spawn import spawn, stop

_PROGRAM = Path(__file__).with_name("resumable_stream.mjs")
_PACKAGES = ("resumable-stream@2.2.13", "redis@6.3.1")
_INSTALL_LIMIT_S = 90


class ResumableStream:
    """One stream at a time."""

    name = "resumable-stream"

    def __init__(
        self, server: subprocess.Popen[bytes], producer: subprocess.Popen[bytes], port: int
    ) -> None:
        self.port = port
        self.pids = [server.pid]
        self._producer = producer
        self._numbers = itertools.count()

    async def open(self, count: int) -> list[str]:
        """Make the producer start an empty stream."""
        assert count == 1
        name = f"stream-{next(self._numbers)}"
        await self._command(f"open {name}")
        return [f"/{name}"]

    async def publish(self, *, rate: float, events: int, group: int = 1) -> None:
        """Make the producer write the events into the stream."""
        del group
        await self._command(f"publish {rate} {events}")

    async def close(self) -> None:
        """End the stream."""
        await self._command("close")

    async def _command(self, command: str) -> None:
        assert self._producer.stdin is not None
        assert self._producer.stdout is not None
        self._producer.stdin.write(f"{command}\n".encode())
        self._producer.stdin.flush()
        assert await asyncio.to_thread(self._producer.stdout.readline) == b"done\n"


@contextlib.asynccontextmanager
async def running(box: Box, redis: ValkeyServer) -> AsyncIterator[ResumableStream]:
    """Run server and producer until the end of the block. Raises Absent."""
    node = shutil.which("node")
    directory = installed(box)
    if node is None or directory is None:
        raise Absent("resumable-stream needs node, npm and access to npm packages")
    program = shutil.copy(_PROGRAM, directory)
    env = {**os.environ, "REDIS_URL": redis.url}
    with box.on_server_core():
        server = spawn([node, program, "serve"], stdout=subprocess.PIPE, env=env)
    producer = spawn(
        [node, program, "produce"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env
    )
    assert server.stdout is not None
    assert producer.stdout is not None
    assert producer.stdin is not None
    with server.stdout, producer.stdout, producer.stdin:
        try:
            yield ResumableStream(server, producer, int(server.stdout.readline()))
        finally:
            stop(producer)
            stop(server)


def installed(box: Box) -> Path | None:
    """The folder with the packages, or None if npm cannot download them."""
    npm, directory = shutil.which("npm"), box.directory / "resumable-stream"
    if npm is None:
        return None
    if not directory.exists():
        directory.mkdir()
        argv = [npm, "install", "--silent", "--no-audit", "--no-fund", *_PACKAGES]
        try:
            subprocess.run(
                argv, cwd=directory, check=True, timeout=_INSTALL_LIMIT_S, capture_output=True
            )
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
            return None
    return directory
