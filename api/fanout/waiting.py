"""Waiting for something in a log, for calls that answer only then."""

import asyncio
from collections.abc import Callable
from enum import Enum
from functools import partial

from tickertape.api.fanout.leaving import Leaving
from tickertape.api.fanout.tape import Tape
from tickertape.api.fanout.watched_log import WatchedLog


class Waited(Enum):
    """How a wait ended."""

    MET = "met"
    TIMED_OUT = "timed out"
    LOST = "the log is gone"
    LEFT = "the client is gone"
    STOPPED = "this process shuts down"
    TAKEN_BACK = "the caller may not read any more"


class Waiting:
    """Waits for one log."""

    def __init__(self, watched: WatchedLog) -> None:
        self._watched = watched
        self._changed = asyncio.Event()
        self._is_stopped = False
        self._is_taken_back = False
        self._is_too_late = False

    def stop(self) -> None:
        """End the wait at once, because this process shuts down."""
        self._is_stopped = True
        self._changed.set()

    def break_off(self) -> None:
        """End the wait at once, because the caller may not read any more."""
        self._is_taken_back = True
        self._changed.set()

    def _expire(self) -> None:
        self._is_too_late = True
        self._changed.set()

    def _look(self, is_met: Callable[[Tape], bool]) -> None:
        # Most entries change nothing for the call, and to resume its task takes twenty frames.
        if self._watched.is_gone or is_met(self._watched.tape):
            self._changed.set()

    def send_event(self, event: bytes) -> None:
        """Send nothing: the answer has not begun."""

    async def until(
        self,
        is_met: Callable[[Tape], bool],
        leaving: Leaving,
        *,
        limit_s: float | None = None,
    ) -> Waited:
        """Wait until `is_met`, or until one of the other reasons of `Waited` ends the wait."""
        watched = self._watched
        look = partial(self._look, is_met)
        watched.listen(look)
        leaving.listen(self._changed.set)
        # `asyncio.timeout` would also prepare to cancel this task, for each request.
        timer = None
        if limit_s is not None:
            timer = asyncio.get_running_loop().call_later(limit_s, self._expire)
        try:
            while not is_met(watched.tape):
                if watched.is_gone:
                    return Waited.LOST
                if self._is_taken_back:
                    return Waited.TAKEN_BACK
                if self._is_stopped:
                    return Waited.STOPPED
                if leaving.has_left:
                    return Waited.LEFT
                if self._is_too_late:
                    return Waited.TIMED_OUT
                self._changed.clear()
                await self._changed.wait()
        finally:
            if timer is not None:
                timer.cancel()
            watched.leave(look)
            await leaving.stop()
        return Waited.MET
