"""The npm package resumable-stream behind Node's HTTP server (resumable_app.mjs)."""

import contextlib
import json
import shutil
from collections.abc import AsyncIterator, Iterator

import aiohttp

from bench.box import Box
from bench.peers.resumable_stream import installed
from bench.rivals.pair import FOLDER, Pair, two
from bench.rivals.rival import Absent, Piece


class Resumable:
    """Two processes. The process that generates an answer keeps it in memory for the readers."""

    name = "resumable-stream"

    def __init__(self, pair: Pair) -> None:
        self._pair = pair
        self.pids = pair.pids
        self.kill = pair.kill

    async def ask(self, session: aiohttp.ClientSession, prompt: str) -> str:
        """The id of a new stream."""
        async with session.post(f"{self._pair.writer}/", json={"prompt": prompt}) as answer:
            return str((await answer.json())["id"])

    async def open(self, session: aiohttp.ClientSession, answer: str) -> aiohttp.ClientResponse:
        """The stream, resumed by the other process."""
        return await session.get(f"{self._pair.reader}/{answer}")

    def pieces(self, name: str, data: str) -> Iterator[Piece]:
        """The text of a token, or the end."""
        yield Piece("completed") if name == "done" else Piece("text", json.loads(data)["text"])


@contextlib.asynccontextmanager
async def resumable(box: Box, redis_url: str, upstream_url: str) -> AsyncIterator[Resumable]:
    """Run both processes until the end of the block. Raises Absent."""
    node, packages = shutil.which("node"), installed(box)
    if node is None or packages is None:
        raise Absent("resumable-stream needs node, npm and access to npm packages")
    program = shutil.copy(FOLDER / "resumable_app.mjs", packages)
    variables = {"REDIS_URL": redis_url, "OPENAI_BASE_URL": upstream_url}
    async with two(box, lambda listener: [node, program, str(listener)], variables) as pair:
        yield Resumable(pair)
