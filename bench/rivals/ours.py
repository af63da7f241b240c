"""Tickertape: an API process and two workers, with the settings that they have by default."""

import contextlib
import io
import json
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp

from bench.box import Box
from bench.rivals.rival import Kind, Piece
from tests.support.deployment import Deployment
from tests.support.programs import Program

# What each event of the native wire means for the text that a reader shows; see docs/wires.md.
_KINDS: Mapping[str, tuple[Kind, ...]] = {
    "delta": ("text",),
    "snapshot": ("reset", "text"),
    "reset": ("reset",),
    "rewind": ("reset",),
    "completed": ("completed",),
    "failed": ("failed",),
    "cancelled": ("failed",),
}


class Ours:
    """Only the worker that generates is killed; the other one takes its requests over."""

    name = "Tickertape"

    def __init__(self, url: str, api: Program, workers: list[Program]) -> None:
        self._url = url
        self._workers = workers
        self.pids = [program.process.pid for program in (api, *workers)]

    async def ask(self, session: aiohttp.ClientSession, prompt: str) -> str:
        """The id of a new request."""
        async with session.post(f"{self._url}/chat", json={"message": prompt}) as answer:
            answer.raise_for_status()
            return str((await answer.json())["request_id"])

    async def open(self, session: aiohttp.ClientSession, answer: str) -> aiohttp.ClientResponse:
        """The stream of a request."""
        return await session.get(f"{self._url}/chat/{answer}/stream")

    def pieces(self, name: str, data: str) -> Iterator[Piece]:
        """The meaning of an event of the native wire."""
        event: dict[str, Any] = json.loads(data)
        for kind in _KINDS.get(name, ()):
            yield Piece(kind, str(event.get("text", "")) if kind == "text" else "")

    def kill(self) -> None:
        """Kill the worker that has claimed the request, which is the only one under way."""
        busy = [each for each in self._workers if each.records("attempt begun")]
        busy[-1].process.kill()
        self.pids.remove(busy[-1].process.pid)


@contextlib.asynccontextmanager
async def ours(box: Box, redis_url: str, upstream_url: str) -> AsyncIterator[Ours]:
    """Run the programs until the end of the block."""
    directory = Path(tempfile.mkdtemp(dir=box.directory))
    deployment = Deployment(
        directory, redis_url=redis_url, upstream_url=upstream_url, OPENAI_MODEL="bench"
    )
    try:
        with box.on_server_core():
            api, url = await deployment.running_api()
            workers = [deployment.start_worker() for _ in range(2)]
        for worker in workers:
            await worker.logged("working")
        yield Ours(url, api, workers)
    finally:
        with contextlib.redirect_stdout(io.StringIO()):  # prints the logs of failed tests
            deployment.close()
