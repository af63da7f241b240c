"""Writes finished requests and conversations to the database of the history.

A partition is handed on in batches, each in one transaction. What was written stays in the outbox
until the database has confirmed it, so that a death leads to the same batch again, and a row that
exists stays as it is. While the database is away, everything waits in Redis.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tickertape.broker.connections import Connections
from tickertape.broker.kept_requests import KeptRequest, KeptRequests
from tickertape.broker.outbox import Collected, Ended, Fate, Outbox
from tickertape.history.opening import HistoryUnavailable
from tickertape.history.rows import Written, written
from tickertape.runtime.backoff import Backoff

if TYPE_CHECKING:
    from tickertape.history.store import History

# A batch with so much text is written before it is complete.
_MOST_BATCH_BYTES = 8 * 1024 * 1024
_DROP_EVERY_S = 60.0
_DAY_S = 86_400


@dataclass
class HistoryWriter:
    """Hands on the outbox of the history. `written` counts requests since the start.

    What ended more than `keep_days` ago is deleted. `problem` says why the database does not
    answer; None if it does.
    """

    connections: Connections
    outbox: Outbox
    history: "History"
    keep_days: int | None = None
    clock: Callable[[], float] = time.monotonic
    written: int = 0
    failures: int = 0
    problem: str | None = None
    _backoff: Backoff = field(default_factory=Backoff)

    def __post_init__(self) -> None:
        self._kept = KeptRequests(self.connections)
        self._next_try_s = 0.0
        self._next_drop_s = 0.0

    async def round(self, partition: int) -> int:
        """Write a batch of a partition; returns how many requests. Raises Unavailable."""
        if self.clock() < self._next_try_s:
            return 0
        try:
            handed = await self._round(partition)
        except HistoryUnavailable as error:
            self.problem = str(error)
            self.failures += 1
            self._next_try_s = self.clock() + self._backoff.next_s()
            # The next round asks the database, also if there is nothing to write.
            self._next_drop_s = 0.0
            raise
        self._backoff.reset()
        self.problem = None
        return handed

    async def drain(self, limit_s: float) -> None:
        """Nothing is under way between two rounds."""

    async def _round(self, partition: int) -> int:
        is_due = self.clock() >= self._next_drop_s
        # Between two slices, what has ended meanwhile is written.
        if is_due and not await self.history.drop_expired(self._oldest_ms()):
            self._next_drop_s = self.clock() + _DROP_EVERY_S
        collected = await self.outbox.collect(partition, "history")
        if collected is None:
            return 0
        await self._erase(partition, collected)
        return await self._write(partition, collected.ended)

    def _oldest_ms(self) -> int | None:
        if self.keep_days is None:
            return None
        return int(1000 * (time.time() - self.keep_days * _DAY_S))

    async def _erase(self, partition: int, collected: Collected) -> None:
        if collected.due:
            await self.history.erase([request_id.decode() for request_id in collected.due])
            await self.outbox.has_erased(partition, collected.due)

    async def _write(self, partition: int, ended: list[Ended]) -> int:
        handed: list[Fate] = []
        rows: list[Written] = []
        size = 0
        for each in ended:
            handed.append(Fate(each.entry))
            # Without a record, the request was erased meanwhile.
            if (kept := await self._kept.read(each.request_id)) is not None:
                rows.append(await asyncio.to_thread(_written, kept))
                size += kept.size_bytes
            if size >= _MOST_BATCH_BYTES:
                break
        if rows:
            await self.history.write(rows)
        await self.outbox.hand(partition, "history", handed)
        self.written += len(rows)
        return len(handed)


def _written(kept: KeptRequest) -> Written:
    return written(kept.request_id, kept.record, kept.entries(), kept.conversation, kept.links)
