"""How much of the thread for long computations a tenant has used, and when it must rest."""

import time
from collections.abc import Callable

from tickertape.runtime.fair_turns import Sharing

# A body of some 100 KB takes less. What a computation takes beyond this time counts.
_FREE_S = 0.02
# A tenant may use the thread for so long, and then for one second in a hundred. The event loop and
# the thread take turns at Python's interpreter, so calls of all tenants are slow meanwhile, and for
# longer than the thread's time of the processor: with one second in fifty, one call in twelve of
# the others met a computation, which would be their 95th percentile.
_BURST_S = 1.0
_SHARE = 0.01
_LONGEST_REST_S = 40.0


class HeavyTime:
    """The time of each tenant. Tenants rest only while calls of different tenants come."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._sharing = Sharing(clock)
        # When its share will have paid for what a tenant has used.
        self._paid_at_s: dict[str, float] = {}

    def note_call(self, tenant: str) -> None:
        """Note a call of a tenant, with or without a long computation."""
        self._sharing.note(tenant)

    def note_use(self, tenant: str, took_s: float) -> None:
        """Note a computation of a tenant that took so much time of the processor."""
        now_s = self._clock()
        counted_s = max(0.0, took_s - _FREE_S)
        paid_at_s = max(now_s, self._paid_at_s.pop(tenant, now_s)) + counted_s / _SHARE
        if paid_at_s > now_s:
            most_s = now_s + _BURST_S / _SHARE + _LONGEST_REST_S
            self._paid_at_s[tenant] = min(paid_at_s, most_s)
        for other in [name for name, end_s in self._paid_at_s.items() if end_s <= now_s]:
            del self._paid_at_s[other]

    def rest_s(self, tenant: str) -> float:
        """After how many seconds the tenant may begin a long computation; 0 for at once."""
        if not self._sharing.is_on or tenant not in self._paid_at_s:
            return 0.0
        return max(0.0, self._paid_at_s[tenant] - self._clock() - _BURST_S / _SHARE)
