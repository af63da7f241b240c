"""Compacts the logs of requests that are over into fewer segments (broker/segments.py)."""

import asyncio
from collections.abc import AsyncIterator
from itertools import islice

import structlog

from tickertape.broker.codec import START, Cursor
from tickertape.broker.connections import Connections
from tickertape.broker.errors import EntryMalformed
from tickertape.broker.kinds import Verdict
from tickertape.broker.log import PAGE_ENTRIES, Logs
from tickertape.broker.lua import Scripts
from tickertape.broker.segments import Segment, SegmentMaker, Stored, entries_of

logger = structlog.get_logger()

HOLD_S = 60.0
# Redis copies the segments of one log in one step, which takes a millisecond for 2 MiB.
MOST_BYTES = 8 * 1024 * 1024


class Compaction:
    """Finds and compacts logs. Every method raises Unavailable when Redis does not answer."""

    def __init__(self, connections: Connections) -> None:
        self._keys = connections.keys
        self._logs = Logs(connections)
        self._scripts = Scripts(connections.commands)

    async def due(self, partition: int, *, after_s: float, limit: int) -> list[str]:
        """At most `limit` requests that ended `after_s` ago or earlier, and are not compacted.

        No other caller gets them for HOLD_S.
        """
        ids = await self._scripts.call(
            "uncompacted",
            [self._keys.uncompacted(partition)],
            after_ms=int(after_s * 1000),
            hold_ms=int(HOLD_S * 1000),
            limit=limit,
        )
        return [request_id.decode() for request_id in ids]

    async def compact(self, partition: int, request_id: str) -> Verdict:
        """Compact the log of a request that is over; returns OK if the log has changed.

        A log that is not understood, or that has more than MOST_BYTES, stays as it is. The call is
        safe to repeat, and a cancelled or failed call leaves the log as it was.
        """
        read = _ReadLog()
        async for part in self._parts(request_id, read):
            read.add(part)
            await asyncio.sleep(0)
        segments = await read.segments()
        values = [
            part for last, value, parts in segments for part in (str(last).encode(), value, parts)
        ]
        verdict, _ = await self._scripts.verdict(
            "compact",
            [self._keys.ring(partition)],
            *values,
            request_id=request_id,
            last=str(read.last),
            count=read.count,
        )
        return verdict

    async def _parts(self, request_id: str, read: "_ReadLog") -> AsyncIterator[list[Stored]]:
        first = START
        while not read.is_unfit:
            page = await self._logs.read_page(request_id, first)
            read.count += len(page.segments)
            read.is_unfit |= any(segment.parts for segment in page.segments)
            for part in page.parts():
                yield part
            if page.is_last:
                return
            first = page.segments[-1].last.next()


class _ReadLog:
    """A log while it is read, and its new segments at the end."""

    def __init__(self) -> None:
        self.count = 0
        self.last: Cursor = START
        self.is_unfit = False
        self._maker = SegmentMaker()
        self._stored: list[Stored] = []
        self._bytes = 0

    def add(self, part: list[Stored]) -> None:
        """Add the next entries."""
        self.last = part[-1][0]
        self._bytes += sum(len(value) for _, value in part)
        self._stored += part
        self.is_unfit |= self._bytes > MOST_BYTES
        if self.is_unfit:
            return
        try:
            for cursor, value in part:
                self._maker.add(cursor, value)
        except (EntryMalformed, ValueError, TypeError):
            self.is_unfit = True

    async def segments(self) -> list[Segment]:
        """The new segments; none if the log has to stay as it is."""
        if self.is_unfit:
            return []
        segments = self._maker.finish()
        # The old log will be gone, so nothing may replace it that does not give back every byte.
        made = (entry for segment in segments for entry in entries_of(segment))
        for at in range(0, len(self._stored), PAGE_ENTRIES):
            expected = self._stored[at : at + PAGE_ENTRIES]
            if list(islice(made, PAGE_ENTRIES)) != expected:
                logger.error("log not compacted")
                return []
            await asyncio.sleep(0)
        return segments if len(segments) < self.count else []
