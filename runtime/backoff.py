"""Pure: how long to wait before the next attempt."""

import random


class Backoff:
    """Doubles from `first_s` to `longest_s`.

    Each wait is shortened at random by up to `jitter` of its length, so that many callers do not
    come back together.
    """

    def __init__(
        self, first_s: float = 0.1, longest_s: float = 5.0, *, jitter: float = 0.5
    ) -> None:
        self._first_s = first_s
        self._longest_s = longest_s
        self._jitter = jitter
        self._next_s = first_s

    def next_s(self, at_least_s: float = 0) -> float:
        """Seconds to wait now; `at_least_s` is what the other side asked for."""
        wait_s = self._next_s * random.uniform(1 - self._jitter, 1)
        self._next_s = min(self._next_s * 2, self._longest_s)
        return max(wait_s, at_least_s)

    def reset(self) -> None:
        """Start over with `first_s`, because an attempt succeeded."""
        self._next_s = self._first_s
