"""Work that another task can interrupt, for a reason that the caller of the work gets back."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from tickertape.worker.outcome import Stop

T = TypeVar("T")


class Interruption:
    """Ends the work that `run` awaits, at the next await of that work.

    An interruption lasts: each later `run` returns the reason without starting its work. A
    cancellation that comes from elsewhere stays a CancelledError.
    """

    def __init__(self) -> None:
        self._reason: Stop | None = None
        self._task: asyncio.Task[object] | None = None

    def interrupt(self, reason: Stop) -> None:
        """End the work that is running, or the work of the next `run`. The first reason counts."""
        if self._reason is None:
            self._reason = reason
            if self._task is not None:
                self._task.cancel()

    async def run(self, work: Callable[[], Awaitable[T]]) -> T | Stop:
        """The result of `work`, or the reason why it was interrupted.

        Raises what `work` raises, interrupted or not.
        """
        if self._reason is not None:
            return self._reason
        self._task = asyncio.current_task()
        try:
            result = await work()
        except asyncio.CancelledError:
            reason = self._leave()
            if reason is None:
                raise
            return reason
        except BaseException:
            self._leave()
            raise
        reason = self._leave()
        return result if reason is None else reason

    def _leave(self) -> Stop | None:
        """The reason if `interrupt` has cancelled this task and nothing else has."""
        task, self._task = self._task, None
        if self._reason is None or task is None:
            return None
        # `interrupt` cancelled the task once. A cancellation from elsewhere remains counted.
        return self._reason if task.uncancel() == 0 else None
