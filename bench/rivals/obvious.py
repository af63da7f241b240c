"""The obvious FastAPI program (obvious_app.py)."""

import contextlib
import json
import sys
from collections.abc import AsyncIterator, Iterator

import aiohttp

from bench.box import Box
from bench.rivals.pair import Pair, two, uvicorn
from bench.rivals.rival import Piece


class Obvious:
    """Two processes, each of which generates what it was asked."""

    name = "the obvious FastAPI"

    def __init__(self, pair: Pair) -> None:
        self._pair = pair
        self.pids = pair.pids
        self.kill = pair.kill

    async def ask(self, session: aiohttp.ClientSession, prompt: str) -> str:
        """The name of a new answer."""
        async with session.post(f"{self._pair.writer}/chat", json={"prompt": prompt}) as answer:
            return str((await answer.json())["id"])

    async def open(self, session: aiohttp.ClientSession, answer: str) -> aiohttp.ClientResponse:
        """The stream of an answer."""
        return await session.get(f"{self._pair.reader}/read/{answer}")

    def pieces(self, name: str, data: str) -> Iterator[Piece]:
        """The text of a token, or the end."""
        yield Piece("completed") if name == "done" else Piece("text", json.loads(data)["text"])


@contextlib.asynccontextmanager
async def obvious(box: Box, redis_url: str, upstream_url: str) -> AsyncIterator[Obvious]:
    """Run both processes until the end of the block."""
    variables = {"REDIS_URL": redis_url, "OPENAI_BASE_URL": upstream_url, "OPENAI_API_KEY": "key"}
    async with two(box, uvicorn(sys.executable, "obvious_app:app"), variables) as pair:
        yield Obvious(pair)
