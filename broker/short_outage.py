"""Waits out a short outage of Redis, such as a restart or a planned fail-over."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from redis.exceptions import BusyLoadingError, ReadOnlyError

from tickertape.broker.errors import Unavailable
from tickertape.broker.server_connection import ServerDemoted

T = TypeVar("T")

# A restart takes a second with a gigabyte of data, and a planned fail-over as long.
PATIENCE_S = 3.0
# Each call that waits keeps its body in memory, so few may wait. All others are refused at once.
MOST_WAITING = 200
_PAUSE_S = 0.1
# A server with these errors is about to accept writes, or another one is.
_PASSING = (BusyLoadingError, ReadOnlyError, ServerDemoted)


class ShortOutage:
    """Repeats calls while Redis is away, for `patience_s` from the begin of each call."""

    def __init__(self, patience_s: float = PATIENCE_S) -> None:
        self._patience_s = patience_s
        self._waiting = 0

    async def sit_out(self, call: Callable[[], Awaitable[T]]) -> T:
        """The result of `call`, which must be safe to repeat. Raises what it raises at last."""
        until_s = time.monotonic() + self._patience_s
        while True:
            try:
                return await call()
            except Unavailable as error:
                is_over = time.monotonic() + _PAUSE_S > until_s or self._waiting >= MOST_WAITING
                if is_over or not _passes(error):
                    raise
            self._waiting += 1
            try:
                await asyncio.sleep(_PAUSE_S)
            finally:
                self._waiting -= 1


def _passes(error: Unavailable) -> bool:
    """Whether Redis is away or changes its role. A full memory or a missing right stays."""
    return type(error) is Unavailable or isinstance(error.__cause__, _PASSING)
