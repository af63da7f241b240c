"""When a loop last began a round: distinguishes a loop that hangs from an idle loop."""

import time


class Pulse:
    """A loop calls `beat` in each round; the pulse is silent after `limit_s` without a call.

    The limit must exceed the longest possible round, with all its time-outs used up.
    """

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._beaten_at_s = time.monotonic()

    def beat(self) -> None:
        """Record that a round begins."""
        self._beaten_at_s = time.monotonic()

    @property
    def is_silent(self) -> bool:
        """Whether the loop hangs."""
        return time.monotonic() - self._beaten_at_s > self._limit_s
