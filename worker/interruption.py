"""Stopping a piece of work from outside, for a reason that the work itself gets to see."""

import asyncio
from types import TracebackType
from typing import Self


class Interruption:
    """A block that `interrupt` leaves with a given exception, at its next await.

    It may be entered again, one block after the other: a reason that is there raises at once.
    Cancelling the task from elsewhere stays what it is, a CancelledError.
    """

    def __init__(self) -> None:
        self._reason: Exception | None = None
        self._task: asyncio.Task[object] | None = None

    def interrupt(self, reason: Exception) -> None:
        """Leave the block with `reason`, now or as soon as it is entered; only the first counts."""
        if self._reason is None:
            self._reason = reason
            if self._task is not None:
                self._task.cancel()

    async def __aenter__(self) -> Self:
        if self._reason is not None:
            raise self._reason
        self._task = asyncio.current_task()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        task, self._task = self._task, None
        if self._reason is None or task is None:
            return
        # `interrupt` has cancelled once, and that is taken back; a shutdown's cancel would remain.
        is_ours_alone = task.uncancel() == 0
        if is_ours_alone and (kind is None or issubclass(kind, asyncio.CancelledError)):
            raise self._reason from None
