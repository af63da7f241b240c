"""Limits on many short waits of one task, at a fraction of what `asyncio.timeout` costs for each.

`asyncio.timeout` sets and cancels a timer every time, which for a stream of tokens is a third of
all the work. Here the timer runs on its own and looks, when it fires, whether a wait is overdue.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


class Watchdog:
    """Times the waits of the task that makes it, one at a time. `stop` it when done."""

    def __init__(self) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a watchdog is made by the task that it watches")
        self._task = task
        self._loop = asyncio.get_running_loop()
        self._due_s: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._has_barked = False

    def time(self) -> float:
        """The clock that `due_s` is of."""
        return self._loop.time()

    async def wait(self, awaited: Callable[[], Awaitable[T]], due_s: float) -> T:
        """What `awaited()` returns; raises TimeoutError if it is not done when `due_s` has come.

        Like `asyncio.timeout`, it cancels the task from within and takes that cancellation back, so
        a cancellation from without, even at the same moment, stays one.
        """
        others = self._task.cancelling()
        self._watch(due_s)
        try:
            return await awaited()
        except asyncio.CancelledError:
            if self._has_barked and self._task.cancelling() == others + 1:
                raise TimeoutError from None
            raise
        finally:
            self._due_s = None
            if self._has_barked:
                self._has_barked = False
                self._task.uncancel()

    def stop(self) -> None:
        """Take the timer out of the loop."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _watch(self, due_s: float) -> None:
        self._due_s = due_s
        if self._timer is None or due_s < self._timer.when():
            self.stop()
            self._timer = self._loop.call_at(due_s, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._due_s is None:
            return
        if self._loop.time() < self._due_s:
            self._timer = self._loop.call_at(self._due_s, self._look)
        else:
            self._has_barked = True
            self._task.cancel()
