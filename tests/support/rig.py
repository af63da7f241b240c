"""The broker on a real server, driven by a test one step at a time.

A `Rig` submits as an API process does, claims and writes as a worker does, and reads what is
stored. `working` runs a real worker beside it. Two rigs stay apart: `tests/broker/partition.py`
calls the scripts themselves, and `tests/broker/subject.py` drives the broker without an event loop,
from a state machine, on a real server or a fake.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

from tests.support.given_settings import GivenSettings
from tests.support.tasks import running
from tests.support.wait import wait_until
from tickertape.broker.appender import Appended, Appender
from tickertape.broker.codec import Entry, encode_data, encode_text
from tickertape.broker.connections import Connections
from tickertape.broker.fold import Answer, fold
from tickertape.broker.kinds import Terminal
from tickertape.broker.leases import Lease
from tickertape.broker.log import Logs
from tickertape.broker.queue import Queue
from tickertape.broker.requests import Record, Requests
from tickertape.broker.submission import Submission
from tickertape.runtime.settings import Settings
from tickertape.runtime.tracing import Tracer
from tickertape.worker.assembly import TIMING, WorkerTiming
from tickertape.worker.functions.definition import Function
from tickertape.worker.main import run

TENANT = "public"
PAYLOAD: dict[str, Any] = {"messages": [], "params": {}}


class Rig:
    """The verbs of an API process and of a worker. `lease` is the last claimed one."""

    def __init__(self, url: str, settings: Settings | None = None) -> None:
        self.url = url
        self.settings = settings or GivenSettings(openai_model="m")
        self.connections = Connections(
            url, namespace=self.settings.namespace, partitions=self.settings.partitions
        )
        self.requests = Requests(self.connections, self.settings)
        self.queue = Queue(self.connections, self.settings, worker="w")
        self.logs = Logs(self.connections)
        self.lease: Lease | None = None
        self._appender = Appender(self.connections, self.settings)
        self._appending: asyncio.Task[None] | None = None
        self._seq = 0
        self._claims = 0

    async def submit(self, tenant: str = TENANT, **fields: Any) -> str:
        """Submit a request and return its id; `fields` are those of a Submission."""
        submission = Submission(tenant=tenant, **{"payload": PAYLOAD, **fields})
        return (await self.requests.submit(submission)).request_id

    async def ask(self, message: str = "hi", **fields: Any) -> str:
        """Submit a question for a real worker: one message, or `messages`.

        `params` go upstream, other fields are those of a Submission.
        """
        messages = fields.pop("messages", [{"role": "user", "content": message}])
        payload = {"messages": messages, "params": fields.pop("params", {})}
        return await self.submit(payload=payload, question=messages, **fields)

    async def claim_lease(self, **options: Any) -> Lease:
        """Claim the next request; `options` are those of `Queue.claim`."""
        lease = await self.queue.claim(0, self._nonce(), **options)
        assert isinstance(lease, Lease), "nothing to claim"
        self.lease, self._seq = lease, 0
        return lease

    async def claim(self) -> str:
        """Claim the next request and return its id."""
        return (await self.claim_lease()).request_id

    async def leased(self, **fields: Any) -> Lease:
        """Submit a request, claim it and return its lease."""
        await self.submit(**fields)
        return await self.claim_lease()

    async def begin(self, **fields: Any) -> str:
        """Submit a request, claim it and return its id."""
        request_id = await self.submit(**fields)
        assert await self.claim() == request_id
        return request_id

    async def type(self, *texts: str) -> None:
        """Append deltas with one call."""
        await self.append(*[encode_text("delta", text) for text in texts])

    async def ready(self) -> None:
        """Connect the appender, which the first append does otherwise."""
        if self._appending is None:
            self._appending = asyncio.create_task(self._appender.run(), name="appender")
        await self._appender.ready()

    async def append(self, *values: bytes) -> None:
        """Append entries of any kind with one call, which is repeated if it was lost."""
        assert self.lease is not None
        to = self._appender.target(self.lease.request_id, self.lease.attempt)
        word = "LOST"
        while word == "LOST":
            await self.ready()
            reply: asyncio.Future[Appended] = asyncio.get_running_loop().create_future()
            self._appender.append(to, self._seq + 1, list(values), reply.set_result)
            word = (await reply).word
        assert word in {"OK", "DUP"}
        self._seq += len(values)

    async def reopen(self, reason: str = "upstream_truncated") -> None:
        """End the attempt and begin another one."""
        assert self.lease is not None
        self.lease = await self.queue.reopen(self.lease, self._nonce(), reason)
        self._seq = 0

    async def finish(
        self,
        answered: str | None = None,
        called: dict[str, Any] | None = None,
        **end: Any,
    ) -> None:
        """Complete the request; `end` adds fields to its terminal."""
        await self.end("completed", {"finish_reason": "stop", **end}, answered, called)

    async def fail(self, code: str = "upstream_error", message: str = "It failed.") -> None:
        """End the request as failed."""
        await self.end("failed", {"code": code, "message": message, "retryable": True})

    async def end(
        self,
        state: Terminal,
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

    def _nonce(self) -> str:
        self._claims += 1
        return f"{id(self)}-{self._claims}"  # several rigs may claim on one server

    async def entries(self, request_id: str) -> list[Entry]:
        """The log as it is now."""
        return await self.logs.entries(request_id)

    async def texts(self, request_id: str) -> list[str]:
        """The deltas of the log as it is now."""
        return [entry.text for entry in await self.entries(request_id) if entry.kind == "delta"]

    async def answer(self, request_id: str) -> Answer:
        """The fold of the log as it is now."""
        return fold(await self.entries(request_id))

    async def record(self, request_id: str) -> Record:
        """The record as it is now."""
        return await self.requests.get_with_usage(request_id, TENANT)

    async def has_mark(self, request_id: str) -> bool:
        """Whether Redis names an answer of the request that its upstream keeps."""
        key = self.connections.keys.request(request_id)
        return bool(await self.connections.ask("HEXISTS", key, "attached"))

    async def ended(self, request_id: str, timeout_s: float = 15) -> Answer:
        """Wait for the terminal and return the answer."""

        async def is_over() -> bool:
            return (await self.record(request_id)).is_over

        await wait_until(is_over, timeout_s=timeout_s, description=f"{request_id} ends")
        return await self.answer(request_id)

    async def shows(self, request_id: str, text: str) -> None:
        """Wait until the text of the answer is exactly `text`."""

        async def does() -> bool:
            return "".join((await self.answer(request_id)).text) == text

        await wait_until(does, description=f"the log shows {text!r}")

    async def aclose(self) -> None:
        """Close all connections."""
        if self._appending is not None:
            self._appending.cancel()
            await asyncio.gather(self._appending, return_exceptions=True)
        await self.connections.aclose()


@contextlib.asynccontextmanager
async def open_rig(url: str, settings: Settings | None = None) -> AsyncIterator[Rig]:
    """A rig that is closed at the end of the block."""
    rig = Rig(url, settings)
    try:
        yield rig
    finally:
        await rig.aclose()


@contextlib.asynccontextmanager
async def open_rigs(url: str, *settings: Settings) -> AsyncIterator[list[Rig]]:
    """Processes of one system, started one after the other with these settings."""
    rigs = [Rig(url, each) for each in settings]
    try:
        for rig in rigs:
            await rig.connections.agree_on_partitions(rig.settings.partitions)
        yield rigs
    finally:
        for rig in rigs:
            await rig.aclose()


@contextlib.asynccontextmanager
async def working(
    url: str,
    settings: Settings,
    *,
    slots: int = 8,
    timing: WorkerTiming = TIMING,
    tracer: Tracer | None = None,
    functions: Sequence[Function] = (),
) -> AsyncIterator[None]:
    """A real worker in this process. At the end of the block it stops as if it was killed.

    The error of a worker that ended before is raised then.
    """
    # A probe is answered by a look that it causes.
    fresh = replace(timing, look_age_s=0.0)
    worker = run(settings, url, slots=slots, timing=fresh, tracer=tracer, functions=functions)
    async with running(worker):
        yield
