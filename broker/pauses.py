"""How long to wait before a connection is opened again."""

import time
from collections.abc import Callable

from tickertape.runtime.backoff import Backoff

_FIRST_S = 0.05
_LONGEST_S = 1.0


class Pauses:
    """A back-off that starts over after a connection that lasted longer than the longest pause.

    An open connection alone proves nothing: a server without memory, or a server whose account may
    not subscribe, accepts each connection and refuses the first command.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, *, jitter: float = 0.5) -> None:
        self._clock = clock
        self._backoff = Backoff(_FIRST_S, _LONGEST_S, jitter=jitter)
        self._opened_at_s: float | None = None

    def opened(self) -> None:
        """Record that a connection was opened."""
        self._opened_at_s = self._clock()

    def next_s(self) -> float:
        """Seconds to wait now: the connection broke, or could not be opened."""
        if self._opened_at_s is not None and self._clock() - self._opened_at_s > _LONGEST_S:
            self._backoff.reset()
        self._opened_at_s = None
        return self._backoff.next_s()
