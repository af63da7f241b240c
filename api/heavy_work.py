"""Long work of one tenant, done so that other tenants do not wait for it."""

import asyncio
import contextlib
import contextvars
import sys
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from contextvars import ContextVar
from functools import partial
from typing import TypeVar

from tickertape.api.edge.problems import Problem
from tickertape.api.heavy_time import HeavyTime
from tickertape.broker.principals import tenant_of
from tickertape.runtime.fair_turns import FairTurns, TooManyWaiting

T = TypeVar("T")

# The fold of so many entries takes 5 ms.
_FEW_ENTRIES = 1000
# The calls of one tenant that wait. Each holds its body, or the entries of its log, meanwhile.
_MOST_WAITING = 64
# The worst body or log of this size takes the event loop for 20 ms.
HEAVY_BYTES = 32 * 1024
# More tenants than any process has.
_ANY_NUMBER = 1_000_000
# A tenant that rests looks so often whether other tenants still call.
_LOOK_S = 1.0
# While a computation runs, the loop waits for the interpreter at most so long, beyond a call of C
# code that has begun. Python's own time, 5 ms, would come before most of the loop's turns.
_SWITCH_S = 0.0005
_USUAL_SWITCH_S = sys.getswitchinterval()
# A context variable, because each step of a call has to know this about its body.
_IS_HEAVY: ContextVar[bool] = ContextVar("is_heavy", default=False)


def mark_call(*, is_heavy: bool) -> None:
    """Note whether the body of this call is so large that work on it would delay others."""
    _IS_HEAVY.set(is_heavy)


class CallTurns(FairTurns):
    """FairTurns of calls, with at most `most_waiting` waiting calls of a tenant."""

    def __init__(self, most: int, most_of_tenant: int, most_waiting: int = _MOST_WAITING) -> None:
        super().__init__(most, most_of_tenant, most_waiting)

    @asynccontextmanager
    async def turn(self, tenant: str) -> AsyncIterator[None]:
        """As FairTurns.turn, but raises Problem 429 if too many calls of the tenant wait."""
        async with contextlib.AsyncExitStack() as stack:
            try:
                await stack.enter_async_context(super().turn(tenant))
            except TooManyWaiting as error:
                raise _too_many(error) from None
            yield


def _too_many(error: TooManyWaiting) -> Problem:
    return Problem(
        429,
        "rate_limit_exceeded",
        f"The limit heavy_calls ({error.most_waiting}) is reached: so many calls with large "
        f"bodies or long logs wait in this process. Try again in {error.wait_s} s.",
        headers={"Retry-After": str(error.wait_s)},
    )


class HeavyWork:
    """Runs long computations in one thread, beside the event loop, each tenant in its turn.

    The interpreter passes between the thread and the loop every 0.5 ms, but not within one call of
    C code. So a computation has to consist of short calls. A tenant with many long computations
    rests between them while other tenants call.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="heavy")
        # Each tenant has one computation at a time, and the thread takes them in their order.
        self._turns = CallTurns(_ANY_NUMBER, 1)
        self._time = HeavyTime()

    async def run(self, principal: str, compute: Callable[[], T]) -> T:
        """The result of a computation; raises what it raises, and as CallTurns.turn.

        All users of a tenant share its turns, because a key can name any number of users.
        After a cancellation, a computation that has begun goes on, and its result is dropped.
        """
        tenant = tenant_of(principal)
        async with self._turns.turn(tenant):
            while (rest_s := self._time.rest_s(tenant)) > 0:  # noqa: ASYNC110  # time ends a rest
                await asyncio.sleep(min(rest_s, _LOOK_S))
            loop = asyncio.get_running_loop()
            context = contextvars.copy_context()
            timed = partial(self._timed, loop, tenant, compute)
            return await loop.run_in_executor(self._thread, context.run, timed)

    def _timed(self, loop: asyncio.AbstractEventLoop, tenant: str, compute: Callable[[], T]) -> T:
        sys.setswitchinterval(_SWITCH_S)
        begun_s = time.thread_time()
        try:
            return compute()
        finally:
            sys.setswitchinterval(_USUAL_SWITCH_S)
            took_s = time.thread_time() - begun_s
            # Of a caller that has left, too. At the end of the process the loop may be closed.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(self._time.note_use, tenant, took_s)

    async def run_if_heavy(self, principal: str, compute: Callable[[], T]) -> T:
        """As `run` in a call with a large body, and at once in any other call."""
        self._time.note_call(tenant_of(principal))
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
