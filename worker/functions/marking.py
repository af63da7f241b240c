"""What a function's attempt records for the attempts after it, and when."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

from tickertape.broker.errors import Fenced, LogLost
from tickertape.broker.kinds import Policy
from tickertape.broker.leases import Lease
from tickertape.broker.marks import Marks
from tickertape.worker.functions.definition import OnInterruption
from tickertape.worker.functions.errors import CheckpointTooLate
from tickertape.worker.source import Written

Insist = Callable[[Callable[[], Awaitable[None]]], Awaitable[None]]


class Marking(Protocol):
    """Is called while the function waits."""

    async def begin(self) -> None:
        """The function is about to run."""

    async def called_tool(self) -> None:
        """The function has yielded a tool call, and may run the tool next."""

    async def keep(self, state: bytes) -> None:
        """The function asks for a checkpoint."""

    def end(self) -> None:
        """The answer has ended, so nothing is recorded any more."""


class AttemptMarking:
    """Records marks of one attempt under its fence.

    With `on_interruption` None, the request may not start over from a tool call to the next
    checkpoint, because the tool may have run. With `fail` it may not from the begin on, and with
    `restart` it may always. Redis has each mark before the function goes on. `insist` repeats a
    call while Redis is away.
    """

    def __init__(
        self,
        marks: Marks,
        lease: Lease,
        written: Written,
        insist: Insist,
        on_interruption: OnInterruption,
    ) -> None:
        self._marks = marks
        self._lease = lease
        self._written = written
        self._insist = insist
        self._on_interruption = on_interruption
        self._requested: Policy = lease.payload.get("on_interruption", "restart")
        self._must_fail = False
        self._ended = asyncio.Event()

    async def begin(self) -> None:
        """Record that the function may not run twice, if it may not."""
        if self._on_interruption == "fail":
            await self._fail()

    async def called_tool(self) -> None:
        """Record that a tool may have run, before it can."""
        if self._on_interruption is None and not self._must_fail:
            await self._fail()

    async def keep(self, state: bytes) -> None:
        """Record a checkpoint behind all that was yielded so far.

        Raises CheckpointTooLate after the end, for a task that the function has left behind.
        """
        if self._ended.is_set():
            raise CheckpointTooLate
        await self._written.flushed()
        at = self._written.first_unacked_seq - 1
        policy = "fail" if self._on_interruption == "fail" else self._requested
        await self._record(lambda: self._marks.mark(self._lease, policy, at=at, checkpoint=state))
        self._must_fail = False

    def end(self) -> None:
        """Let the tasks that the function has left behind go on, with an error."""
        self._ended.set()

    async def _fail(self) -> None:
        await self._record(lambda: self._marks.mark(self._lease, "fail"))
        self._must_fail = True

    async def _record(self, mark: Callable[[], Awaitable[None]]) -> None:
        try:
            await self._insist(mark)
            return
        except Fenced:
            self._written.fenced()
        except LogLost:
            self._written.lost()
        # The function is cancelled here, so that it does nothing that another attempt does too.
        await self._ended.wait()
        raise CheckpointTooLate
