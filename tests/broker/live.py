"""The broker on a real server, as its processes use it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from typing import Any

from tests.support.given_settings import GivenSettings
from tickertape.broker import keys
from tickertape.broker.appender import MAX_ENTRIES
from tickertape.broker.connections import Connections
from tickertape.broker.log import Logs
from tickertape.broker.lua import Scripts
from tickertape.broker.queue import Lease, Queue
from tickertape.broker.requests import Requests, Submission
from tickertape.runtime.settings import Settings


class Live:
    """The verbs of an API process and of a worker on one server."""

    def __init__(self, url: str, settings: Settings | None = None) -> None:
        self.settings = settings or GivenSettings(openai_model="m")
        self.connections = Connections(url)
        self.requests = Requests(self.connections, self.settings)
        self.queue = Queue(self.connections, self.settings, worker="w")
        self.logs = Logs(self.connections)
        self._scripts = Scripts(self.connections.commands)
        self._nonces = 0

    async def submit(self, tenant: str = "t", **named: Any) -> str:
        """The id of a new request."""
        submission = Submission(tenant=tenant, payload={"p": 1}, **named)
        return (await self.requests.submit(submission)).request_id

    async def take(self) -> Lease:
        """Claim where something waits."""
        self._nonces += 1
        got = await self.queue.claim(0, f"n{self._nonces}")
        assert isinstance(got, Lease), "nothing waits"
        return got

    async def lease(self, **named: Any) -> Lease:
        """A new request that runs."""
        await self.submit(**named)
        return await self.take()

    async def write(self, lease: Lease, *values: bytes, first_seq: int = 1) -> None:
        """Append entries."""
        names = [keys.request(lease.request_id), keys.log(lease.request_id)]
        word, _ = await self._scripts.verdict(
            "append",
            names,
            *values,
            attempt=lease.attempt,
            first_seq=first_seq,
            max_entries=MAX_ENTRIES,
            max_output_bytes=self.settings.max_output_bytes,
            channel=keys.log_channel(lease.request_id),
        )
        assert word == "OK"

    async def texts(self, request_id: str) -> list[str]:
        """The deltas of a log."""
        return [e.text for e in await self.logs.entries(request_id) if e.kind == "delta"]


@contextlib.asynccontextmanager
async def live(url: str, settings: Settings | None = None) -> AsyncIterator[Live]:
    """A Live that is closed at the end."""
    running = Live(url, settings)
    try:
        yield running
    finally:
        await running.connections.aclose()


@contextlib.asynccontextmanager
async def running(call: Coroutine[Any, Any, None]) -> AsyncIterator[asyncio.Task[None]]:
    """Run something that never ends for the length of the block; what it raises is raised."""
    task = asyncio.create_task(call)
    try:
        yield task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
