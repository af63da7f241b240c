"""How long the event loop of this process was away, because one of its turns took long."""

import asyncio
import time
from collections import deque

from tickertape.runtime.histogram import DELAYS_S, Histogram

_INTERVAL_S = 0.05
# The longest turn of the last minute, in two halves, of which the older one is dropped.
_HALF_S = 30.0


class LoopWatch:
    """Wakes 20 times a second, and notes how late it woke. Streams are late by the same time."""

    def __init__(self, interval_s: float = _INTERVAL_S) -> None:
        self._interval_s = interval_s
        self._longest_s: deque[float] = deque([0.0], maxlen=2)
        self.lag = Histogram(
            "tickertape_event_loop_lag_seconds",
            "How late the event loop did what was due, looked at 20 times a second",
            DELAYS_S,
        )

    @property
    def longest_turn_s(self) -> float:
        """The longest turn of the loop in the last half minute to minute, within the interval."""
        return max(self._longest_s)

    async def run(self) -> None:
        """Watch until cancelled."""
        half_ends_s = time.monotonic() + _HALF_S
        while True:
            due_s = time.monotonic() + self._interval_s
            await asyncio.sleep(self._interval_s)
            now_s = time.monotonic()
            if now_s > half_ends_s:
                half_ends_s = now_s + _HALF_S
                self._longest_s.append(0.0)
            late_s = now_s - due_s
            self.lag.observe(late_s)
            self._longest_s[-1] = max(self._longest_s[-1], late_s)
