"""The turns of an event loop, in which calls of different tenants have the same number of steps.

What a call does between two waits is a step. Nothing else runs during a step, so with 60 calls of
one tenant that can go on, the steps of all 60 come before the next step of another tenant.
"""

import asyncio
import math
import time
import types
from collections import deque
from collections.abc import Awaitable, Generator
from typing import Any, TypeVar

from tickertape.runtime.fair_turns import Sharing

T = TypeVar("T")

# So many steps of a tenant that wait are a crowd. A tenant with fewer calls never pauses.
_FEW = 4
# A crowd pauses for so many times the time of its last step. It has a fifth of the time at least.
_PAUSE = 4.0
# A tenant without a step in this time has no call under way that a crowd could hold up. The first
# token of an answer comes within this time, if the upstream is quick and the machine is busy.
_UNDER_WAY_S = 0.05
# uvloop rounds timers to whole milliseconds. A pause that would be rounded to none, or to much more
# than itself, is a number of turns. These keep a processor busy, which Redis or a worker may need.
_SHORTEST_TIMER_S = 0.0007


class FairSteps:
    """While calls of different tenants come, each tenant has one step in a turn of the event loop.

    A call holds nothing while it waits for something else, so a slow call delays no other one.
    While only one tenant calls, no step waits. A crowd of calls pauses after each step while a call
    of a tenant that is not a crowd is under way. Otherwise as many steps of the crowd as fit would
    be in each wait of that call, as for Redis, and would make the wait longer. Crowds do not pause
    for each other, because the loop would do nothing meanwhile.
    """

    def __init__(self, under_way_s: float = _UNDER_WAY_S, pause: float = _PAUSE) -> None:
        self._under_way_s = under_way_s
        self._pause = pause
        self._sharing = Sharing()
        # When the last step of each tenant that was no crowd ended, if a call may be under way.
        self._calm_s: dict[str, float] = {}
        # When each crowd that waits has paused for long enough.
        self._paused_s: dict[str, float] = {}
        # The tenants that had their step of this turn.
        self._had: set[str] = set()
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}
        self._next_turn: asyncio.Handle | None = None

    @types.coroutine
    def run(self, tenant: str, call: Awaitable[T]) -> Generator[Any, None, T]:
        """Await a call in fair steps; returns and raises what the call does.

        A cancelled call goes on at once, without waiting for its step.
        """
        self._sharing.note(tenant)
        steps = call.__await__()
        thrown: BaseException | None = None
        while True:
            if thrown is None and not self._may_step(tenant):
                try:
                    yield from self._next_step(tenant)
                except BaseException as error:  # noqa: BLE001  # it belongs to the call
                    thrown = error
            begun_s = time.monotonic() if self._had else None
            try:
                awaited = steps.send(None) if thrown is None else steps.throw(thrown)
            except StopIteration as end:
                returned: T = end.value
                return returned
            finally:
                # Its traceback has this frame.
                thrown = None
                if begun_s is not None:
                    self._note_step(tenant, begun_s)
            try:
                yield awaited
            except BaseException as error:  # noqa: BLE001  # it belongs to the call
                thrown = error

    def _may_step(self, tenant: str) -> bool:
        """Take the tenant's step of this turn, if it is there."""
        if not self._sharing.is_on and not self._waiting:
            return True
        if tenant in self._had or tenant in self._waiting:
            return False
        if not self._had:
            self._have_next_turn()
        self._had.add(tenant)
        return True

    def _next_step(self, tenant: str) -> "asyncio.Future[None]":
        """Is done when the tenant has its next step, behind those of its calls that wait."""
        step: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(tenant, deque()).append(step)
        return step

    def _note_step(self, tenant: str, begun_s: float) -> None:
        now_s = time.monotonic()
        if len(self._waiting.get(tenant, ())) > _FEW:
            self._calm_s.pop(tenant, None)
            self._paused_s[tenant] = now_s + self._pause * (now_s - begun_s)
        else:
            self._calm_s[tenant] = now_s

    def _have_next_turn(self, after_s: float = 0.0) -> None:
        if self._next_turn is not None:
            self._next_turn.cancel()
        loop = asyncio.get_running_loop()
        if after_s < _SHORTEST_TIMER_S:
            self._next_turn = loop.call_soon(self._begin_turn)
        else:
            self._next_turn = loop.call_later(after_s, self._begin_turn)

    def _begin_turn(self) -> None:
        self._next_turn = None
        self._had.clear()
        most = 1 if self._sharing.is_on else None
        now_s, next_s = time.monotonic(), math.inf
        since_s = now_s - self._under_way_s
        self._calm_s = {each: s for each, s in self._calm_s.items() if s > since_s}
        for tenant, steps in list(self._waiting.items()):
            if most and len(steps) > _FEW and (until_s := self._pauses_until_s(tenant)) > now_s:
                next_s = min(next_s, until_s)
                continue
            if _give(steps, most):
                self._had.add(tenant)
            if not steps:
                del self._waiting[tenant]
                self._paused_s.pop(tenant, None)
        if self._had:
            self._have_next_turn()
        elif self._waiting:
            self._have_next_turn(next_s - now_s)

    def _pauses_until_s(self, tenant: str) -> float:
        """When a crowd has paused for long enough, or no call of another tenant is under way."""
        calm_s = max((s for each, s in self._calm_s.items() if each != tenant), default=-math.inf)
        return min(self._paused_s.get(tenant, -math.inf), calm_s + self._under_way_s)


def _give(steps: "deque[asyncio.Future[None]]", most: int | None) -> int:
    """Give so many steps to those who wait, or all; returns how many were given."""
    given = 0
    while steps and given != most:
        step = steps.popleft()
        # A call that was cancelled has gone on without its step.
        if not step.done():
            step.set_result(None)
            given += 1
    return given
