"""Reading logs: pages of entries, whether a cursor is valid, and where the tails are."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from tickertape.broker.bulk import Fields, stream_entries
from tickertape.broker.codec import FIELD, START, Cursor, Entry, decode
from tickertape.broker.connections import Connections
from tickertape.broker.errors import CursorMalformed, EntryMalformed
from tickertape.broker.segments import PARTS_FIELD, Segment, Stored, entries_of

PAGE_ENTRIES = 1000
_TAILS_PER_CALL = 200

# No kind has an empty value.
_UNREADABLE = b""


@dataclass(frozen=True)
class Page:
    """Some segments of a log, and the entries that they hold from the id `first` on.

    `is_last`: there were no more segments. Entries are made while they are iterated over, because
    a compacted log may have a hundred thousand of them in one segment.
    """

    segments: list[Segment]
    first: Cursor
    is_last: bool

    def parts(self) -> Iterator[list[Stored]]:
        """The entries, at most PAGE_ENTRIES at once; none in place of an empty part."""
        entries = self.entries()
        while part := list(islice(entries, PAGE_ENTRIES)):
            yield part

    def entries(self) -> Iterator[Stored]:
        """The entries, in order. An unreadable segment is one entry that `decode` refuses."""
        for segment in self.segments:
            try:
                for entry in entries_of(segment):
                    if entry[0] >= self.first:
                        yield entry
            except EntryMalformed:
                yield segment.last, _UNREADABLE


class Logs:
    """Reads logs, without blocking reads. Raises Unavailable when Redis does not answer."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._keys = connections.keys

    async def read(
        self, request_id: str, first: Cursor = START, count: int = PAGE_ENTRIES
    ) -> list[Stored]:
        """Stored entries from the id `first` on, inclusive; empty when there is no such log.

        A reader that passes the id of its last entry learns from the first result whether that
        entry still exists. A foreign entry is returned with a value that `decode` refuses, so that
        a reader can process the log up to the foreign entry.
        """
        page = await self.read_page(request_id, first, count)
        return list(islice(page.entries(), count))

    async def read_page(
        self, request_id: str, first: Cursor = START, count: int = PAGE_ENTRIES
    ) -> Page:
        """As `read`, but at most `count` segments, each with all its entries."""
        rows = await self._connections.read_log(self._keys.log(request_id), str(first), count)
        return _page(rows, first, count)

    async def entries(self, request_id: str) -> list[Entry]:
        """The whole log as it is now, decoded at once."""
        return [decode(cursor, value) for cursor, value in await self.stored(request_id)]

    async def stored(self, request_id: str) -> list[Stored]:
        """The whole log as it is now. It may have megabytes: `decoded` is for a thread."""
        stored: list[Stored] = []
        first = START
        while True:
            page = await self.read_page(request_id, first)
            for number, part in enumerate(page.parts()):
                if number > 0:
                    # A compacted log is one page, however long, and other tasks need turns.
                    await asyncio.sleep(0)
                stored += part
            if page.is_last:
                return stored
            first = stored[-1][0].next()

    async def tails(self, request_ids: Sequence[str]) -> list[Cursor | None]:
        """The id of the last entry of each log; None when there is no such log."""
        tails: list[Cursor | None] = []
        for at in range(0, len(request_ids), _TAILS_PER_CALL):
            replies = await self._connections.ask_all(
                [
                    ("XREVRANGE", self._keys.log(request_id), "+", "-", "COUNT", 1)
                    for request_id in request_ids[at : at + _TAILS_PER_CALL]
                ]
            )
            tails += [_position(rows[0][0]) if rows else None for rows in replies]
        return tails


def page_of(rows: list[list[Any]], count: int) -> Page:
    """The first page of a log, of the rows with which Redis answered an XRANGE of so many."""
    return _page(stream_entries(rows), START, count)


def _page(rows: list[tuple[bytes, Fields]], first: Cursor, count: int) -> Page:
    segments = [_segment(entry_id, fields) for entry_id, fields in rows]
    return Page(segments, first, is_last=len(rows) < count)


def decoded(stored: list[Stored]) -> list[Entry]:
    """The entries, while other threads run."""
    return [decode(cursor, value, is_patient=True) for cursor, value in stored]


def size_of(stored: list[Stored]) -> int:
    """The bytes of the entries."""
    return sum(len(value) for _, value in stored)


def _segment(entry_id: bytes, fields: dict[bytes, bytes]) -> Segment:
    try:
        return Segment(Cursor.parse(entry_id), fields[FIELD], fields.get(PARTS_FIELD, b""))
    except (CursorMalformed, KeyError):
        return Segment(_position(entry_id), _UNREADABLE)


def _position(entry_id: bytes) -> Cursor:
    # A foreign entry may have an id that is too large for a cursor. Such an id must affect its own
    # log only, and not the tails of all others.
    attempt, _, seq = entry_id.partition(b"-")
    return Cursor(int(attempt), int(seq))
