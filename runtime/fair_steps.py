"""The turns of an event loop, in which calls of different tenants have the same number of steps.

What a call does between two waits is a step. Nothing else runs during a step, so with 60 calls of
one tenant that can go on, the steps of all 60 come before the next step of another tenant.
"""

import asyncio
import types
from collections import deque
from collections.abc import Awaitable, Generator
from typing import Any, TypeVar

from tickertape.runtime.fair_turns import Sharing

T = TypeVar("T")


class FairSteps:
    """While calls of different tenants come, each tenant has one step in a turn of the event loop.

    A call holds nothing while it waits for something else, so a slow call delays no other one.
    While only one tenant calls, no step waits.
    """

    def __init__(self) -> None:
        self._sharing = Sharing()
        # The tenants that had their step of this turn.
        self._had: set[str] = set()
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}
        self._is_next_turn_due = False

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
            try:
                awaited = steps.send(None) if thrown is None else steps.throw(thrown)
            except StopIteration as end:
                returned: T = end.value
                return returned
            finally:
                # Its traceback has this frame.
                thrown = None
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
        self._had.add(tenant)
        self._have_next_turn()
        return True

    def _next_step(self, tenant: str) -> "asyncio.Future[None]":
        """Is done when the tenant has its next step, behind those of its calls that wait."""
        step: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(tenant, deque()).append(step)
        return step

    def _have_next_turn(self) -> None:
        if not self._is_next_turn_due:
            self._is_next_turn_due = True
            asyncio.get_running_loop().call_soon(self._begin_turn)

    def _begin_turn(self) -> None:
        self._is_next_turn_due = False
        self._had.clear()
        most = 1 if self._sharing.is_on else None
        for tenant, steps in list(self._waiting.items()):
            if _give(steps, most):
                self._had.add(tenant)
            if not steps:
                del self._waiting[tenant]
        if self._had:
            self._have_next_turn()


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
