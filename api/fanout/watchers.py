"""Shows the readers of a conversation how many they are, over all API processes.

A count changes at every process within one interval. The readers of one process get at most one
notice in each interval, so that a crowd that arrives at once costs each reader one notice and not
one for each arrival.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from itertools import islice

from tickertape.broker.task_faults import TaskFaults
from tickertape.broker.watchers import ConversationPlace, WatcherCounts

INTERVAL_S = 2.0
# More conversations than this are taken in turn, so that their number sets how old a count may be,
# and not what an interval costs.
_MOST_PER_INTERVAL = 500
# Redis does nothing else during a call, some 10 us for each conversation.
_PER_CALL = 50
_SHORTEST_VALID_S = 10.0

OnCount = Callable[[int], None]


class _Watched:
    """A conversation that readers of this process watch."""

    __slots__ = ("elsewhere", "listeners", "shown", "written", "written_at_s")

    def __init__(self) -> None:
        self.listeners: tuple[OnCount, ...] = ()
        self.elsewhere = 0
        self.shown = 0
        self.written = 0
        self.written_at_s = 0.0

    @property
    def count(self) -> int:
        return len(self.listeners) + self.elsewhere


class Watchers:
    """Counts the readers of conversations; `run` has to be running."""

    def __init__(
        self,
        counts: WatcherCounts,
        *,
        interval_s: float = INTERVAL_S,
        most_per_interval: int = _MOST_PER_INTERVAL,
        faults: TaskFaults | None = None,
    ) -> None:
        self._faults = faults or TaskFaults()
        self._counts = counts
        self._interval_s = interval_s
        self._most_per_interval = most_per_interval
        # In the order in which the conversations take their turn.
        self._watched: dict[ConversationPlace, _Watched] = {}

    @property
    def readers(self) -> int:
        """The readers of conversations at this process."""
        return sum(len(watched.listeners) for watched in self._watched.values())

    @contextlib.contextmanager
    def join(self, place: ConversationPlace, on_count: OnCount) -> Iterator[int]:
        """Count a reader within the block; yields the count so far, with this reader.

        `on_count` is called with each later count.
        """
        watched = self._watched.setdefault(place, _Watched())
        watched.listeners += (on_count,)
        try:
            yield watched.count
        finally:
            listeners = list(watched.listeners)
            listeners.remove(on_count)
            watched.listeners = tuple(listeners)

    async def run(self) -> None:
        """Exchange counts until cancelled. Without Redis, this process counts its own readers."""
        while True:
            await asyncio.sleep(self._interval_s)
            for places in self._turns():
                with self._faults.contain("watchers"):
                    await self._exchange(places)
            self._show()

    def _turns(self) -> list[list[ConversationPlace]]:
        """The conversations of this interval in parts: changed ones, then the next ones in turn."""
        changed = [
            place for place, each in self._watched.items() if len(each.listeners) != each.written
        ]
        due = dict.fromkeys(islice([*changed, *self._watched], 2 * self._most_per_interval))
        chosen = list(due)[: self._most_per_interval]
        for place in chosen:
            self._watched[place] = self._watched.pop(place)
        # A call is for one partition.
        chosen.sort(key=lambda place: place[0])
        return [chosen[start : start + _PER_CALL] for start in range(0, len(chosen), _PER_CALL)]

    async def _exchange(self, places: list[ConversationPlace]) -> None:
        now_s = asyncio.get_running_loop().time()
        valid_s = self._valid_s()
        counts = {
            place: len(self._watched[place].listeners)
            for place in places
            if self._has_to_write(self._watched[place], now_s, valid_s)
        }
        elsewhere = await self._counts.exchange(counts, places, valid_s)
        for place, count in counts.items():
            self._watched[place].written, self._watched[place].written_at_s = count, now_s
        for place, others in elsewhere.items():
            self._watched[place].elsewhere = others

    @staticmethod
    def _has_to_write(watched: _Watched, now_s: float, valid_s: float) -> bool:
        is_old = bool(watched.listeners) and now_s - watched.written_at_s > valid_s / 3
        return is_old or len(watched.listeners) != watched.written

    def _valid_s(self) -> float:
        """How long a written count holds: until it has been written again, with a margin."""
        rounds = 1 + len(self._watched) // self._most_per_interval
        return max(_SHORTEST_VALID_S, 4 * rounds * self._interval_s)

    def _show(self) -> None:
        for place, watched in list(self._watched.items()):
            if not watched.listeners and not watched.written:
                del self._watched[place]
            elif watched.shown != watched.count:
                watched.shown = watched.count
                for on_count in watched.listeners:
                    on_count(watched.count)
