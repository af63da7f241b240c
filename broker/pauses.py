"""How long to wait before a connection is made again."""

import time
from collections.abc import Callable

_FIRST_S = 0.05
_LONGEST_S = 1.0


class Pauses:
    """Doubles from pause to pause, and begins anew after a connection that lasted.

    To be open proves nothing: a server without memory, or one whose account may not listen, takes
    each connection and refuses the first thing asked on it.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._next_s = _FIRST_S
        self._opened_at_s: float | None = None

    def opened(self) -> None:
        """A connection was made."""
        self._opened_at_s = self._clock()

    def next_s(self) -> float:
        """Seconds to wait now: the connection is gone, or could not be made."""
        if self._opened_at_s is not None and self._clock() - self._opened_at_s > _LONGEST_S:
            self._next_s = _FIRST_S
        self._opened_at_s = None
        pause_s, self._next_s = self._next_s, min(2 * self._next_s, _LONGEST_S)
        return pause_s
