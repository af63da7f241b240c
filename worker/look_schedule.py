"""Pure: when a worker looks at each partition for work that no wake announced."""

import heapq
import random

# An empty partition costs two commands a look, so looks cost at most eight commands a second when
# all partitions are empty, whatever their number.
_LOOKS_PER_S = 4
# Old plans of a partition stay in the heap until their time; beyond this many, they are removed.
_MOST_PLANS = 8


class LookSchedule:
    """Each partition is looked at once a round, and when its next lease or delay ends.

    A round takes `shortest_round_s` for few partitions, and lets through `_LOOKS_PER_S` for many.
    All times are in seconds of one clock.
    """

    def __init__(
        self, partitions: int, now_s: float, shortest_round_s: float, rng: random.Random
    ) -> None:
        self._shortest_round_s = shortest_round_s
        self._rng = rng
        self._due_s: dict[int, float] = {}
        self._is_all_due = False
        self.resize(partitions, now_s)

    def resize(self, partitions: int, now_s: float) -> None:
        """Look at this many partitions. The plans of those that stay are kept."""
        self._round_s = max(self._shortest_round_s, partitions / _LOOKS_PER_S)
        # In a random order, so that each server of a cluster is asked every second or so.
        order = self._rng.sample(range(partitions), partitions)
        self._due_s = {
            partition: self._due_s.get(partition, now_s + self._round_s * (n + 1) / partitions)
            for n, partition in enumerate(order)
        }
        self._renew_heap()

    @property
    def is_slow(self) -> bool:
        """Whether a round takes longer than the shortest one, because there are many partitions."""
        return len(self._due_s) > _LOOKS_PER_S

    def plan(self, partition: int, now_s: float, next_ms: int | None = None) -> None:
        """Look when `next_ms` have passed, unless a look is planned before; 0 plans nothing.

        Without a time, the plan stays, so that the looks of a round stay spread.
        """
        due_s = self._due_s.get(partition)
        if next_ms and due_s is not None and now_s + next_ms / 1000 < due_s:
            self._set(partition, now_s + next_ms / 1000)

    def plan_all_now(self) -> None:
        """Look at all partitions at once, beside what is planned."""
        self._is_all_due = True

    def pop_due(self, now_s: float) -> list[int]:
        """The partitions to look at now. Each is planned again for after a round."""
        due = list(self._due_s) if self._is_all_due else []
        self._is_all_due = False
        while self._heap[0][0] <= now_s:
            due_s, partition = heapq.heappop(self._heap)
            if self._due_s.get(partition) == due_s:
                if partition not in due:
                    due.append(partition)
                self._set(partition, now_s + self._round_s)
        return due

    def pause_s(self, now_s: float) -> float:
        """How long no look is due, at least; another plan may be earlier."""
        return max(0.0, self._heap[0][0] - now_s)

    def _set(self, partition: int, due_s: float) -> None:
        self._due_s[partition] = due_s
        heapq.heappush(self._heap, (due_s, partition))
        if len(self._heap) > _MOST_PLANS * len(self._due_s):
            self._renew_heap()

    def _renew_heap(self) -> None:
        self._heap = [(due_s, partition) for partition, due_s in self._due_s.items()]
        heapq.heapify(self._heap)
