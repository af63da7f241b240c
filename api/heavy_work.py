"""Long work of one tenant, done so that other tenants do not wait for it."""

import asyncio
import contextvars
import math
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import TypeVar

from tickertape.api.edge.problems import Problem
from tickertape.broker.keys import tenant_of

T = TypeVar("T")

# The fold of so many entries takes 5 ms.
_FEW_ENTRIES = 1000
# The calls of one tenant that wait. Each holds its body, or the entries of its log, meanwhile.
_MOST_WAITING = 64
_LONGEST_RETRY_S = 60
# The worst body or log of this size takes the event loop for 20 ms.
HEAVY_BYTES = 32 * 1024
# A context variable, because each step of a call has to know this about its body.
_IS_HEAVY: ContextVar[bool] = ContextVar("is_heavy", default=False)


def mark_call(*, is_heavy: bool) -> None:
    """Note whether the body of this call is so large that work on it would delay others."""
    _IS_HEAVY.set(is_heavy)


class FairTurns:
    """At most `most` turns at a time, and at most `most_of_tenant` of them of one tenant.

    Tenants that wait get the free turns one after the other, however many calls each of them has.
    At most `most_waiting` calls of a tenant wait.
    """

    def __init__(self, most: int, most_of_tenant: int, most_waiting: int = _MOST_WAITING) -> None:
        self._free = most
        self._most_of_tenant = most_of_tenant
        self._most_waiting = most_waiting
        # How long a turn takes, as a mean that follows the last ones.
        self._turn_s = 0.1
        self._held: Counter[str] = Counter()
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}

    @asynccontextmanager
    async def turn(self, tenant: str) -> AsyncIterator[None]:
        """Wait for a turn of the tenant, and hold it for the length of the block.

        Raises Problem 429 if too many calls of the tenant wait.
        """
        await self._take(tenant)
        begun_s = time.monotonic()
        try:
            yield
        finally:
            self._turn_s += (time.monotonic() - begun_s - self._turn_s) / 8
            self._give_back(tenant)

    async def _take(self, tenant: str) -> None:
        if len(self._waiting.get(tenant, ())) >= self._most_waiting:
            raise self._too_many(tenant)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(tenant, deque()).append(turn)
        self._hand_out()
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():
                self._give_back(tenant)
            raise

    def _too_many(self, tenant: str) -> Problem:
        # A quarter of the tenant's calls is over by then, and all tenants that wait have turns.
        turns = math.ceil(len(self._waiting[tenant]) / 4) * len(self._waiting)
        wait_s = min(_LONGEST_RETRY_S, max(1, math.ceil(turns * self._turn_s)))
        return Problem(
            429,
            "rate_limit_exceeded",
            f"The limit heavy_calls ({self._most_waiting}) is reached: so many calls with large "
            f"bodies or long logs wait in this process. Try again in {wait_s} s.",
            headers={"Retry-After": str(wait_s)},
        )

    def _give_back(self, tenant: str) -> None:
        self._free += 1
        self._held[tenant] -= 1
        if not self._held[tenant]:
            del self._held[tenant]
        self._hand_out()

    def _hand_out(self) -> None:
        while self._free and (tenant := self._next_tenant()) is not None:
            waiting = self._waiting.pop(tenant)
            turn = waiting.popleft()
            if waiting:
                # Behind all other tenants that wait.
                self._waiting[tenant] = waiting
            if not turn.cancelled():
                self._free -= 1
                self._held[tenant] += 1
                turn.set_result(None)

    def _next_tenant(self) -> str | None:
        may_have = (each for each in self._waiting if self._held[each] < self._most_of_tenant)
        return next(may_have, None)


class HeavyWork:
    """Runs long computations in one thread, beside the event loop, each tenant in its turn.

    The interpreter passes between the thread and the loop every 5 ms, but not within one call of C
    code. So a computation has to consist of short calls.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="heavy")
        self._turns = FairTurns(1, 1)

    async def run(self, principal: str, compute: Callable[[], T]) -> T:
        """The result of a computation; raises what it raises, and as FairTurns.turn.

        All users of a tenant share its turns, because a key can name any number of users.
        After a cancellation, a computation that has begun goes on, and its result is dropped.
        """
        async with self._turns.turn(tenant_of(principal)):
            context = contextvars.copy_context()
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._thread, context.run, compute)

    async def run_if_heavy(self, principal: str, compute: Callable[[], T]) -> T:
        """As `run` in a call with a large body, and at once in any other call."""
        return await self.run(principal, compute) if _IS_HEAVY.get() else compute()

    async def run_for(
        self, principal: str, entries: int, compute: Callable[[], T], *, size_bytes: int = 0
    ) -> T:
        """As `run` for a log with many entries or bytes, and at once for any other log."""
        is_heavy = entries > _FEW_ENTRIES or size_bytes >= HEAVY_BYTES
        return await self.run(principal, compute) if is_heavy else compute()

    def close(self) -> None:
        """Drop the computations that have not begun."""
        self._thread.shutdown(wait=False, cancel_futures=True)
