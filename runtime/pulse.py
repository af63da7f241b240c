"""When a loop last went round: tells one that hangs from one that has nothing to do."""

import time


class Pulse:
    """Beaten by a loop at each round. Silent when no round was begun for `limit_s`.

    The limit has to exceed the longest round there is, with every time-out in it used up.
    """

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._beaten_at_s = time.monotonic()

    def beat(self) -> None:
        """Another round begins."""
        self._beaten_at_s = time.monotonic()

    @property
    def is_silent(self) -> bool:
        """Whether the loop hangs."""
        return time.monotonic() - self._beaten_at_s > self._limit_s
