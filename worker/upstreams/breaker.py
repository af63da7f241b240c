"""Pure: a circuit breaker, which keeps requests from an upstream that fails.

    closed ──failures in a row──▶ open ──time──▶ half open ──one call succeeds──▶ closed
                                   ▲                 │
                                   └── it fails ─────┘   (twice the time, up to a bound)

An open breaker does not forbid calls: if no other upstream is left, its own is called.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """The states of a breaker."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True)
class BreakerTiming:
    """When a breaker opens, and for how long. Tests pass shorter times."""

    failures: int = 5
    first_open_s: float = 5.0
    longest_open_s: float = 120.0


TIMING = BreakerTiming()


class Breaker:
    """The breaker of one upstream. `clock` is monotonic, in seconds."""

    def __init__(self, clock: Callable[[], float], timing: BreakerTiming = TIMING) -> None:
        self._clock = clock
        self._timing = timing
        self._failures = 0
        self._open_s = timing.first_open_s
        self._opens_until: float | None = None
        self._rests_until = 0.0
        self._is_tried = False

    @property
    def state(self) -> State:
        """The state at this time."""
        if self._opens_until is None:
            return State.CLOSED
        return State.OPEN if self._clock() < self._opens_until else State.HALF_OPEN

    @property
    def admits(self) -> bool:
        """Whether a request should go to this upstream, if it has others."""
        if self._clock() < self._rests_until:
            return False
        state = self.state
        return state is State.CLOSED or (state is State.HALF_OPEN and not self._is_tried)

    @property
    def admits_at(self) -> float:
        """The time from which the upstream should be called again; 0 if it should be now."""
        return max(self._opens_until or 0.0, self._rests_until)

    def begun(self) -> None:
        """Take note of a call. While the breaker is half open, it is the only one."""
        self._is_tried = self.state is State.HALF_OPEN

    def succeeded(self) -> None:
        """Close the breaker, because the upstream answered."""
        self._failures = 0
        self._open_s = self._timing.first_open_s
        self._opens_until, self._is_tried = None, False

    def failed(self) -> bool:
        """Count a failure; returns whether it opened the breaker."""
        self._failures += 1
        state, self._is_tried = self.state, False
        if state is State.OPEN or (
            state is State.CLOSED and self._failures < self._timing.failures
        ):
            return False
        if state is State.HALF_OPEN:
            self._open_s = min(2 * self._open_s, self._timing.longest_open_s)
        self._opens_until = self._clock() + self._open_s
        return True

    def rest(self, pause_s: float) -> None:
        """Keep requests away for a time, because the upstream asked for that."""
        self._rests_until = max(self._rests_until, self._clock() + pause_s)

    def abandoned(self) -> None:
        """Take note that a call ended before it showed anything."""
        self._is_tried = False
