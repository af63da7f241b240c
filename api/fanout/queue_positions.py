"""Shows the readers of waiting requests their place in the queue."""

import asyncio
import random
from collections.abc import Callable, Iterable, Iterator, Mapping

from tickertape.api.fanout.hub import Hub
from tickertape.api.fanout.watched_log import WatchedLog
from tickertape.broker import request_ids
from tickertape.broker.new_requests import NewRequest
from tickertape.broker.queue_lines import PART_SIZE, Lines, Part, QueueLines
from tickertape.broker.requests import Record
from tickertape.runtime.json_types import JsonObject

_MOST_TENANTS_PER_CALL = 200
# A notice costs about 20 us for each reader. The limit keeps a long queue that moves from taking
# more than a few percent of the process, whatever the number of its readers.
MOST_NOTICES = 1000
_NEAREST_NOTICES = 700


class QueuePositions:
    """Reads the places of watched requests that wait; `run` has to be running.

    In each interval, one call for each pool of a partition reads a part of the line of limited
    length, so the number of readers does not matter. The heads of the tenants' lists are read
    first. A longer line is read in turn, and its far positions are then some intervals old.

    `no_worker_since` returns the Unix time of the last sign of a worker of a pool, or None while
    one is at work. Readers of waiting requests get it with their place.
    """

    def __init__(
        self,
        hub: Hub,
        lines: QueueLines,
        interval_s: float,
        no_worker_since: Callable[[str], float | None],
    ) -> None:
        self._no_worker_since = no_worker_since
        self._hub = hub
        self._lines = lines
        self._parts: dict[tuple[int, str], PartTurns] = {}
        self.interval_s = interval_s

    def show(self, watched: WatchedLog, record: Record | NewRequest) -> None:
        """Show the readers of a log what its request waits for, and from now on its place."""
        watched.tenant, watched.pool = record.tenant, record.pool
        if record.waiting is not None:
            watched.keep_notice("waiting", record.waiting)

    async def run(self) -> None:
        """Publish places that have changed, once in each interval, until cancelled."""
        while True:
            with self._hub.faults.contain("queue positions"):
                await self.publish()
            await asyncio.sleep(self.interval_s)

    async def publish(self) -> None:
        """Read the line once, and publish the places that have changed; raises BrokerError."""
        waiting: dict[tuple[int, str], dict[str, WatchedLog]] = {}
        for watched in self._hub.queued():
            request_id = watched.tape.request_id
            line = request_ids.partition_of(request_id), watched.pool
            waiting.setdefault(line, {})[request_id] = watched
        self._parts = {line: self._parts.get(line) or PartTurns() for line in waiting}
        changed: list[tuple[int, WatchedLog, JsonObject]] = []
        for (partition, pool), of_line in waiting.items():
            turns = self._parts[partition, pool]
            tenants = {watched.tenant for watched in of_line.values()}
            lines = await self._lines.read(partition, list(turns.choose(tenants)), pool)
            turns.read(lines)
            changed += self._changed(lines.positions(), of_line, self._no_worker_since(pool))
        for _, watched, data in _most_urgent(changed):
            watched.publish_notice("position", data)

    def _changed(
        self,
        positions: Mapping[str, int],
        waiting: Mapping[str, WatchedLog],
        since_s: float | None,
    ) -> Iterator[tuple[int, WatchedLog, JsonObject]]:
        for request_id, position in positions.items():
            watched = waiting.get(request_id)
            if watched is None or not watched.tape.is_queued:
                continue
            data: JsonObject = {"position": position}
            if since_s is not None:
                data["no_worker_since"] = int(since_s)
            if data != watched.notices.get("position"):
                yield position, watched, data


class PartTurns:
    """Pure: which parts of the line of one pool of a partition are read next."""

    def __init__(self) -> None:
        # In the order of their turns; what was read goes to the end.
        self._heads: dict[Part, None] = {}
        self._far: dict[Part, None] = {}

    def choose(self, tenants: Iterable[str]) -> Iterator[Part]:
        """The heads of these tenants' lists, then the parts behind them, each in turn."""
        wanted = set(tenants)
        for tenant in wanted:
            self._heads.setdefault((tenant, 0))
        self._heads = {part: None for part in self._heads if part[0] in wanted}
        self._far = {part: None for part in self._far if part[0] in wanted}
        yield from list(self._heads)[:_MOST_TENANTS_PER_CALL]
        yield from list(self._far)[:_MOST_TENANTS_PER_CALL]

    def read(self, lines: Lines) -> None:
        """These parts were read: they have their next turn after all others."""
        for part, ids in lines.parts.items():
            turns = self._far if part[1] else self._heads
            turns.pop(part, None)
            if ids or not part[1]:
                turns[part] = None
            if len(ids) == PART_SIZE:
                self._far.setdefault((part[0], part[1] + PART_SIZE))


def _most_urgent(
    changed: list[tuple[int, WatchedLog, JsonObject]],
) -> list[tuple[int, WatchedLog, JsonObject]]:
    """At most MOST_NOTICES: readers without a place, the nearest ones, and some of the others."""
    if len(changed) <= MOST_NOTICES:
        return changed
    changed.sort(key=lambda each: ("position" in each[1].notices, each[0]))
    others = random.sample(changed[_NEAREST_NOTICES:], MOST_NOTICES - _NEAREST_NOTICES)
    return [*changed[:_NEAREST_NOTICES], *others]
