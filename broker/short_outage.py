"""Waits out a short outage of Redis, such as a restart or a planned fail-over."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from redis.exceptions import BusyLoadingError

from tickertape.broker.errors import Unavailable

T = TypeVar("T")

# A restart takes a second with a gigabyte of data, and a planned fail-over as long.
PATIENCE_S = 3.0
# Each call that waits keeps its body in memory, so few may wait. All others are refused at once.
MOST_WAITING = 200
_PAUSE_S = 0.1


class ShortOutage:
    """Repeats calls while Redis is away, until `patience_s` after the first call that failed.

    In a longer outage, each call is refused at once, so that callers learn of it without a delay.
    """

    def __init__(
        self, patience_s: float = PATIENCE_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._patience_s = patience_s
        self._clock = clock
        self._waiting = 0
        # Of the outage under way: its first and its last failed call.
        self._first_s = self._last_s = -math.inf

    async def sit_out(self, call: Callable[[], Awaitable[T]]) -> T:
        """The result of `call`, which must be safe to repeat. Raises what it raises at last."""
        until_s: float | None = None
        while True:
            try:
                result = await call()
            except Unavailable as error:
                if not _passes(error):
                    raise
                until_s = until_s or self._end_of_patience_s()
                self._last_s = self._clock()
                if self._last_s >= until_s or self._waiting >= MOST_WAITING:
                    raise
            else:
                self._last_s = -math.inf
                return result
            self._waiting += 1
            try:
                await asyncio.sleep(_PAUSE_S)
            finally:
                self._waiting -= 1

    def _end_of_patience_s(self) -> float:
        now_s = self._clock()
        # Without a failed call for so long, Redis was probably there in between.
        if now_s - self._last_s > self._patience_s:
            self._first_s = now_s
        return self._first_s + self._patience_s


def _passes(error: Unavailable) -> bool:
    """Whether Redis is away or loads its data.

    A full memory and a missing right stay. A replica stays one for an unknown time, and each call
    to it costs a connection.
    """
    return type(error) is Unavailable or isinstance(error.__cause__, BusyLoadingError)
