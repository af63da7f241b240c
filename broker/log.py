"""Reading logs: pages of entries, whether a cursor is valid, and where the tails are."""

from collections.abc import Sequence

from tickertape.broker.codec import FIELD, START, Cursor, Entry, decode
from tickertape.broker.connections import Connections
from tickertape.broker.errors import CursorMalformed

PAGE_ENTRIES = 1000
_TAILS_PER_CALL = 200

# No kind has an empty value.
_UNREADABLE = b""

Stored = tuple[Cursor, bytes]


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
        rows = await self._connections.ask(
            "XRANGE", self._keys.log(request_id), str(first), "+", "COUNT", count
        )
        return [_stored(entry_id, fields) for entry_id, fields in rows]

    async def entries(self, request_id: str) -> list[Entry]:
        """The whole log as it is now, decoded."""
        entries: list[Entry] = []
        first = START
        while True:
            page = await self.read(request_id, first)
            entries += [decode(cursor, value) for cursor, value in page]
            if len(page) < PAGE_ENTRIES:
                return entries
            first = page[-1][0].next()

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


def _stored(entry_id: bytes, fields: dict[bytes, bytes]) -> Stored:
    try:
        return Cursor.parse(entry_id), fields[FIELD]
    except (CursorMalformed, KeyError):
        return _position(entry_id), _UNREADABLE


def _position(entry_id: bytes) -> Cursor:
    # A foreign entry may have an id that is too large for a cursor. Such an id must affect its own
    # log only, and not the tails of all others.
    attempt, _, seq = entry_id.partition(b"-")
    return Cursor(int(attempt), int(seq))
