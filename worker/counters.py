"""What a worker has done since its start, as plain numbers."""

from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tickertape.broker.leases import Lease
from tickertape.worker.request_times import RequestTimes

# The rate is the mean over this many reports, so that one pause of the upstream does not show as 0.
_RATE_SAMPLES = 5
# No call of an upstream uses as many. A report of more is not believed.
_MOST_TOKENS = 10**9
_TOKENS = {"input": "prompt_tokens", "output": "completion_tokens"}
TOKEN_TYPES = tuple(_TOKENS)


@dataclass
class Counters:
    """Counted by jobs when an attempt or a request ends; nothing is counted for each delta.

    `deltas` are those of ended attempts. `ended` counts requests by their terminal and the code of
    their failure, `claims` and `ended_of` by their pool, the second one by its terminal, too,
    `retries` by the code, `attempts` by the opener, and `tokens` by their type.
    `upstream_problem` says why the upstream refused the last call for a reason that concerns all
    calls, such as its key; a completed answer clears it. `titles` counts the titles that were asked
    for: given, refused or failed.
    """

    deltas: int = 0
    takeovers: int = 0
    retries: Counter[str] = field(default_factory=Counter)
    ended: Counter[tuple[str, str]] = field(default_factory=Counter)
    claims: Counter[str] = field(default_factory=Counter)
    ended_of: Counter[tuple[str, str]] = field(default_factory=Counter)
    attempts: Counter[str] = field(default_factory=Counter)
    tokens: Counter[str] = field(default_factory=Counter)
    times: RequestTimes = field(default_factory=RequestTimes)
    titles: Counter[str] = field(default_factory=Counter)
    upstream_problem: str | None = None

    def claimed(self, lease: Lease) -> None:
        """Count a claim, and how long the request has waited for it."""
        self.takeovers += lease.crashes > 0
        self.claims[lease.pool] += 1
        self.times.claimed(lease)

    def end(self, lease: Lease, state: str, code: str = "") -> None:
        """Count a request that has ended in a state, with the code of its failure."""
        self.ended[state, code] += 1
        self.ended_of[lease.pool, state] += 1

    def ended_as(self, state: str) -> int:
        """How many requests have ended in a state."""
        return sum(count for (ended, _), count in self.ended.items() if ended == state)

    def used(self, usage: Mapping[str, Any] | None) -> None:
        """Count the tokens that an upstream reported, or that were estimated."""
        for name, reported in _TOKENS.items():
            count = (usage or {}).get(reported)
            if isinstance(count, int) and 0 <= count <= _MOST_TOKENS:
                self.tokens[name] += count

    def retried(self, code: str, problem: str | None) -> None:
        """Count a retry. Its `problem` shows at once and not only after the last retry."""
        self.retries[code] += 1
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
