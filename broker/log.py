"""Reading logs: pages of entries, whether a cursor is valid, and where the tails are."""

from collections.abc import Sequence

from tickertape.broker import keys
from tickertape.broker.codec import FIELD, START, Cursor, Entry, decode
from tickertape.broker.connections import Connections
from tickertape.broker.errors import CursorMalformed

PAGE_ENTRIES = 1000
_TAILS_PER_CALL = 200

# No kind has an empty value.
_UNREADABLE = b""

Stored = tuple[Cursor, bytes]


class Logs:
    """Reads logs; never blocks and never writes. Raises Unavailable when Redis does not answer."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    async def read(
        self, request_id: str, first: Cursor = START, count: int = PAGE_ENTRIES
    ) -> list[Stored]:
        """Entries as stored, from this id on and including it; empty for a log that is not there.

        A reader that asks from the last entry it has sees by the first answer whether that very
        entry still exists. What is no entry of ours has a value that `decode` refuses: a log is
        understood as far as its reader goes.
        """
        rows = await self._connections.ask(
            "XRANGE", keys.log(request_id), str(first), "+", "COUNT", count
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
        """The id of the last entry of each log, None for a log that is not there."""
        tails: list[Cursor | None] = []
        for at in range(0, len(request_ids), _TAILS_PER_CALL):
            replies = await self._connections.ask_all(
                [
                    ("XREVRANGE", keys.log(request_id), "+", "-", "COUNT", 1)
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
    # Ids of Redis are larger than any cursor may be: one that no attempt ever wrote must spoil its
    # own log only, and not the look at all others.
    attempt, _, seq = entry_id.partition(b"-")
    return Cursor(int(attempt), int(seq))
