"""Types into a real log what a test tells it to, as a worker would, but one step at a time."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from tickertape.broker.appender import Appended, Appender, target
from tickertape.broker.codec import encode_data, encode_text
from tickertape.broker.connections import Connections
from tickertape.broker.queue import Lease, Queue
from tickertape.broker.requests import Requests, Submission
from tickertape.runtime.settings import Settings

TENANT = "public"


class Typist:
    """One request at a time: submit, claim, type, finish."""

    def __init__(self, connections: Connections, settings: Settings, appender: Appender) -> None:
        self.connections = connections
        self.settings = settings
        self.requests = Requests(connections, settings)
        self.queue = Queue(connections, settings, worker="typist")
        self.lease: Lease | None = None
        self._appender = appender
        self._seq = 0
        self._claims = 0

    async def submit(self, **fields: Any) -> str:
        """Submit a request and return its id."""
        submission = Submission(tenant=TENANT, payload={"messages": [], "params": {}}, **fields)
        return (await self.requests.submit(submission)).request_id

    async def claim(self) -> str:
        """Claim the next request and return its id."""
        self._claims += 1
        lease = await self.queue.claim(0, f"nonce-{self._claims}")
        assert isinstance(lease, Lease), "nothing to claim"
        self.lease, self._seq = lease, 0
        return lease.request_id

    async def begin(self, **fields: Any) -> str:
        """Submit a request and claim it."""
        request_id = await self.submit(**fields)
        assert await self.claim() == request_id
        return request_id

    async def type(self, *texts: str) -> None:
        """Append deltas with one call."""
        await self.append(*[encode_text("delta", text) for text in texts])

    async def append(self, *values: bytes) -> None:
        """Append entries of any kind with one call."""
        assert self.lease is not None
        to = target(self.lease.request_id, self.lease.attempt)
        word = "LOST"
        while word == "LOST":
            await self._appender.ready()
            answered: asyncio.Future[Appended] = asyncio.get_running_loop().create_future()
            self._appender.append(to, self._seq + 1, list(values), answered.set_result)
            word = (await answered).word
        assert word in {"OK", "DUP"}
        self._seq += len(values)

    async def reopen(self, reason: str = "upstream_truncated") -> None:
        """End the attempt and begin another one."""
        assert self.lease is not None
        self._claims += 1
        self.lease = await self.queue.reopen(self.lease, f"nonce-{self._claims}", reason)
        self._seq = 0

    async def finish(
        self,
        answered: str | None = None,
        called: dict[str, Any] | None = None,
        **end: Any,
    ) -> None:
        """Complete the request; `end` is what its terminal says besides the finish_reason."""
        await self.end("completed", {"finish_reason": "stop", **end}, answered, called)

    async def fail(self, code: str = "upstream_error", message: str = "It failed.") -> None:
        """End the request as failed."""
        await self.end("failed", {"code": code, "message": message, "retryable": True})

    async def end(
        self,
        state: str,
        data: dict[str, Any],
        answered: str | None = None,
        called: dict[str, Any] | None = None,
    ) -> None:
        """Write the terminal."""
        assert self.lease is not None
        terminal = encode_data(state, data)
        first_seq = self._seq + 1
        gap = await self.queue.finish(
            self.lease, state, first_seq, [terminal], answered=answered, called=called
        )
        assert gap is None


@contextlib.asynccontextmanager
async def typing(redis_url: str, settings: Settings | None = None) -> AsyncIterator[Typist]:
    """A typist with connections of its own."""
    settings = settings or Settings(retention_s=600)
    connections = Connections(redis_url)
    appender = Appender(connections, settings)
    running = asyncio.create_task(appender.run(), name="appender")
    try:
        await appender.ready()
        yield Typist(connections, settings, appender)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await connections.aclose()
