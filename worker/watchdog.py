"""Limits on many short waits of one task, at a fraction of what `asyncio.timeout` costs for each.

`asyncio.timeout` sets and cancels a timer every time, which for a stream of tokens is a third of
all the work. Here the timer runs on its own and looks, when it fires, whether a wait is overdue.
"""

import asyncio
from types import TracebackType
from typing import Self


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
        self._others = 0

    def time(self) -> float:
        """The clock that `due_s` is of."""
        return self._loop.time()

    def until(self, due_s: float) -> Self:
        """A block that raises TimeoutError if it is not left when `due_s` has come.

        Like `asyncio.timeout`, it cancels the task from within and takes that cancellation back, so
        a cancellation from without, even at the same moment, stays one.
        """
        self._others = self._task.cancelling()
        self._due_s = due_s
        if self._timer is None or due_s < self._timer.when():
            self.stop()
            self._timer = self._loop.call_at(due_s, self._look)
        return self

    def __enter__(self) -> None:
        """What is timed is the block: see `until`."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._due_s = None
        if not self._has_barked:
            return
        self._has_barked = False
        is_ours_alone = self._task.uncancel() == self._others
        if is_ours_alone and kind is asyncio.CancelledError:
            raise TimeoutError from None

    def stop(self) -> None:
        """Take the timer out of the loop."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        if self._due_s is None:
            return
        if self._loop.time() < self._due_s:
            self._timer = self._loop.call_at(self._due_s, self._look)
        else:
            self._has_barked = True
            self._task.cancel()
