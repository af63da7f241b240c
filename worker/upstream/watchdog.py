"""Limits on many short waits of one task, at a fraction of the cost of `asyncio.timeout`.

`asyncio.timeout` sets and cancels a timer for each wait, which is a third of all work for a stream
of tokens. The watchdog's timer keeps running across waits. When it fires, it checks whether a wait
is overdue.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


class Watchdog:
    """Limits the waits of the task that creates it, one at a time. Call `stop` at the end."""

    def __init__(self) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("create a watchdog in the task that it watches")
        self._task = task
        self._loop = asyncio.get_running_loop()
        self._due_s: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._has_expired = False
        # The current time in seconds, on the clock of `due_s`.
        self.time: Callable[[], float] = self._loop.time

    async def wait(self, awaited: Callable[[], Awaitable[T]], due_s: float) -> T:
        """The result of `awaited()`; raises TimeoutError if it is not done at `due_s`.

        Like `asyncio.timeout`, the watchdog cancels the task and then takes its cancellation back.
        A cancellation from elsewhere, even at the same moment, stays a cancellation.
        """
        others = self._task.cancelling()
        self._watch(due_s)
        try:
            return await awaited()
        except asyncio.CancelledError:
            if self._has_expired and self._task.cancelling() == others + 1:
                raise TimeoutError from None
            raise
        finally:
            self._due_s = None
            if self._has_expired:
                self._has_expired = False
                self._task.uncancel()

    def extend(self, due_s: float) -> None:
        """Let the wait under way end at `due_s` instead; does nothing without one."""
        if self._due_s is None:
            return
        if due_s < self._due_s:
            self._watch(due_s)
        else:
            # The timer runs already, and will find the new time when it fires.
            self._due_s = due_s

    def stop(self) -> None:
        """Take the timer out of the loop."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _watch(self, due_s: float) -> None:
        self._due_s = due_s
        if self._timer is None or due_s < self._timer.when():
            self.stop()
            self._timer = self._loop.call_at(due_s, self._check_due)

    def _check_due(self) -> None:
        self._timer = None
        if self._due_s is None:
            return
        if self._loop.time() < self._due_s:
            self._timer = self._loop.call_at(self._due_s, self._check_due)
        else:
            self._has_expired = True
            self._task.cancel()
