"""Turns at something scarce, of which each tenant that waits gets the next one in its turn."""

import asyncio
import math
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar

# The tenant of the call that the current task belongs to; "" for the process' own tasks.
TENANT: ContextVar[str] = ContextVar("the tenant of the call", default="")

_LONGEST_RETRY_S = 60
# After this time without a call of another tenant, a tenant shares with nobody.
_SHARED_S = 1.0


class TooManyWaiting(Exception):
    """So many calls of the tenant wait that another one would wait for too long.

    After `wait_s` seconds, a quarter of them is probably over.
    """

    def __init__(self, most_waiting: int, wait_s: int) -> None:
        super().__init__(f"{most_waiting} calls of the tenant wait")
        self.most_waiting = most_waiting
        self.wait_s = wait_s


class Sharing:
    """Whether calls of different tenants come."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._newest = ""
        self._until_s = -math.inf

    def note(self, tenant: str) -> None:
        """Note a call of a tenant; does nothing for the process' own tasks, which have none."""
        if tenant and tenant != self._newest:
            if self._newest:
                self._until_s = self._clock() + _SHARED_S
            self._newest = tenant

    @property
    def is_on(self) -> bool:
        """Whether calls of different tenants came within the last second."""
        return self._until_s > -math.inf and self._clock() < self._until_s


class FairTurns:
    """At most `most` turns at a time, and at most `most_of_tenant` of them of one tenant.

    Tenants that wait get the free turns one after the other, however many calls each of them has.
    At most `most_waiting` calls of a tenant wait. While calls of different tenants come, each of
    them has at most `share` turns at a time, so that little stands before a tenant that begins. The
    process' own tasks, which have no tenant, may have all turns at any time. Without a limit, a
    tenant may have all turns, and any number of its calls wait.
    """

    def __init__(
        self,
        most: int,
        most_of_tenant: int | None = None,
        most_waiting: int | None = None,
        share: int | None = None,
    ) -> None:
        self._free = most
        self._most_of_tenant = most_of_tenant or most
        self._share = share or self._most_of_tenant
        self._sharing = Sharing()
        self._most_waiting = most_waiting
        # How long a turn takes, as a mean that follows the last ones.
        self._turn_s = 0.1
        self._held: Counter[str] = Counter()
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}

    @asynccontextmanager
    async def turn(self, tenant: str) -> AsyncIterator[None]:
        """Wait for a turn of the tenant, and hold it for the length of the block.

        Raises TooManyWaiting.
        """
        await self.take(tenant)
        begun_s = time.monotonic()
        try:
            yield
        finally:
            self._turn_s += (time.monotonic() - begun_s - self._turn_s) / 8
            self.give_back(tenant)

    async def take(self, tenant: str) -> None:
        """Wait for a turn of the tenant; call `give_back` with the same tenant after it.

        Raises TooManyWaiting. A cancelled call has no turn.
        """
        # Most calls of most processes come here while a turn is free.
        if not self.take_free(tenant):
            await self._wait(tenant)

    def take_free(self, tenant: str) -> bool:
        """Take a turn of the tenant if no wait is needed for one; returns whether there was one."""
        self._sharing.note(tenant)
        is_free = self._free > 0 and not self._waiting
        if not is_free or self._held[tenant] >= self._most_for(tenant):
            return False
        self._free -= 1
        self._held[tenant] += 1
        return True

    def give_back(self, tenant: str) -> None:
        """End a turn of the tenant."""
        self._free += 1
        self._held[tenant] -= 1
        if not self._held[tenant]:
            del self._held[tenant]
        if self._waiting:
            self._hand_out()

    async def _wait(self, tenant: str) -> None:
        if self._most_waiting and len(self._waiting.get(tenant, ())) >= self._most_waiting:
            raise TooManyWaiting(self._most_waiting, self._wait_s(tenant))
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(tenant, deque()).append(turn)
        self._hand_out()
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():
                self.give_back(tenant)
            raise

    def _wait_s(self, tenant: str) -> int:
        # A quarter of the tenant's calls is over by then, and all tenants that wait have turns.
        turns = math.ceil(len(self._waiting[tenant]) / 4) * len(self._waiting)
        return min(_LONGEST_RETRY_S, max(1, math.ceil(turns * self._turn_s)))

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
        may_have = (each for each in self._waiting if self._held[each] < self._most_for(each))
        return next(may_have, None)

    def _most_for(self, tenant: str) -> int:
        return self._share if tenant and self._sharing.is_on else self._most_of_tenant
