"""What a worker has done since its start, as plain numbers."""

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field

# The rate is the mean over this many reports, so that one pause of the upstream does not show as 0.
_RATE_SAMPLES = 5


@dataclass
class Counters:
    """Counted by jobs when an attempt or a request ends; nothing is counted for each delta.

    `deltas` are those of ended attempts. `ended` counts requests by their terminal.
    `upstream_problem` says why the upstream refused the last call for a reason that concerns all
    calls, such as its key; a completed answer clears it. `titles` counts the titles that were asked
    for: given, refused or failed.
    """

    deltas: int = 0
    takeovers: int = 0
    retries: int = 0
    ended: Counter[str] = field(default_factory=Counter)
    titles: Counter[str] = field(default_factory=Counter)
    upstream_problem: str | None = None

    def retried(self, problem: str | None) -> None:
        """Count a retry. Its `problem` shows at once and not only after the last retry."""
        self.retries += 1
        self.upstream_problem = problem or self.upstream_problem


class DeltaRate:
    """Deltas per second over the last samples."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._samples: deque[tuple[float, int]] = deque(maxlen=_RATE_SAMPLES + 1)

    def add(self, deltas: int) -> float:
        """Add the count so far and return the rate; 0 at the first sample."""
        now_s = self._clock()
        self._samples.append((now_s, deltas))
        begun_s, before = self._samples[0]
        return max(0, deltas - before) / (now_s - begun_s) if now_s > begun_s else 0.0
