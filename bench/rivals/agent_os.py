"""Agno's AgentOS with a durable queue (agent_os_app.py), from requirements-rivals.lock."""

import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import aiohttp

from bench.box import Box
from bench.rivals.pair import Pair, two, uvicorn
from bench.rivals.rival import Piece, events_of
from tests.support.packages import locked_python

_ENDS = {"RunCompleted": "completed", "RunError": "failed", "RunCancelled": "failed"}


class Agno:
    """Two replicas, whose database is Redis as well. The first one takes the runs."""

    def __init__(self, pair: Pair, attempts: int) -> None:
        self.name = "Agno AgentOS" if attempts == 1 else f"Agno, max_attempts={attempts}"
        self._pair = pair
        self.pids = pair.pids
        self.kill = pair.kill

    async def ask(self, session: aiohttp.ClientSession, prompt: str) -> str:
        """The id of a new run in the background. Its caller leaves after the first event."""
        form = {"message": prompt, "stream": "true", "background": "true"}
        async with session.post(f"{self._pair.writer}/agents/bench/runs", data=form) as answer:
            answer.raise_for_status()
            async for event in events_of(answer):
                if run_id := json.loads(event.data).get("run_id"):
                    return str(run_id)
        raise AssertionError("a run without an id")

    async def open(self, session: aiohttp.ClientSession, answer: str) -> aiohttp.ClientResponse:
        """The stream of a run, as a client resumes it."""
        return await session.post(f"{self._pair.reader}/agents/bench/runs/{answer}/resume", data={})

    def pieces(self, name: str, data: str) -> Iterator[Piece]:
        """The text of a token, or the end of the run. Other events say nothing about the text."""
        event: dict[str, Any] = json.loads(data)
        kind = str(event.get("event", name))
        if kind == "RunContent" and event.get("content"):
            yield Piece("text", str(event["content"]))
        elif kind in _ENDS:
            yield Piece("completed" if kind == "RunCompleted" else "failed")


@contextlib.asynccontextmanager
async def agent_os(
    box: Box, redis_url: str, upstream_url: str, *, attempts: int = 1
) -> AsyncIterator[Agno]:
    """Run both replicas until the end of the block. Raises Absent."""
    variables = {
        "REDIS_URL": redis_url,
        "OPENAI_BASE_URL": upstream_url,
        "OPENAI_API_KEY": "key",
        "AGNO_ATTEMPTS": str(attempts),
    }
    command = uvicorn(locked_python("rivals"), "agent_os_app:app")
    async with two(box, command, variables) as pair:
        yield Agno(pair, attempts)
