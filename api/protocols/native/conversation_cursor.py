"""Pure: a point in a conversation, as the event ids of its stream name it.

A request may be queued, and cancelled, before the turn ahead of it begins. A client gets these
entries behind the end of that turn. Redis may lose that end, and the turn then ends in another
attempt. So the ids of entries that are older than the end ahead name the attempt of that end, in
the form of a cursor that no log has.
"""

from typing import NamedTuple

from msgspec.structs import replace

from tickertape.api.fanout.tape import Tape
from tickertape.api.protocols.native.wire import NativeWire
from tickertape.broker import request_ids
from tickertape.broker.codec import Cursor, Entry
from tickertape.broker.errors import CursorMalformed
from tickertape.runtime.json_types import JsonObject

# No attempt has so many entries, and no id has a larger seq than nine more. The seq of the entry,
# which is 0 or 1 before any attempt, is added.
BEHIND_SEQ = 9_999_999_990


class ConversationCursor(NamedTuple):
    """A point in a conversation: a request, and a cursor in that request's log."""

    request_id: str
    cursor: Cursor

    @classmethod
    def parse(cls, text: str) -> "ConversationCursor":
        """Read `<request_id>:<cursor>`; raises CursorMalformed."""
        request_id, _, cursor = text.partition(":")
        if request_ids.parse_partition(request_id) is None:
            raise CursorMalformed(
                "The event ids of a conversation have the form r0_...:1732300000000-12."
            )
        return cls(request_id, Cursor.parse(cursor))

    @property
    def ahead(self) -> int:
        """The attempt of the end ahead that the cursor names; 0 if it names an entry."""
        return self.cursor.attempt if self.cursor.seq >= BEHIND_SEQ else 0


class WireBehind(NativeWire):
    """The native wire for clients that have the end of the turn ahead, in the attempt `ahead`."""

    def __init__(self, request_id: str, place: JsonObject, ahead: int) -> None:
        super().__init__(request_id, place)
        self._ahead = ahead

    def frame(self, entry: Entry) -> bytes:
        """The event of an entry, whose id names the end ahead if the entry is older than that."""
        cursor = entry.cursor
        if cursor.attempt < self._ahead:
            entry = replace(entry, cursor=Cursor(self._ahead, BEHIND_SEQ + cursor.seq))
        return super().frame(entry)


def is_older(tape: Tape, attempt: int) -> bool:
    """Whether the request was queued before this attempt of the turn ahead began."""
    queued = _queued(tape)
    return queued is not None and queued.attempt < attempt


def position_after(tape: Tape, cursor: Cursor) -> int | None:
    """The position of the entry after a cursor of a client; None if the tape has no such entry."""
    return tape.position_after(_in_log(tape, cursor))


def is_before_opener(tape: Tape, cursor: Cursor) -> bool:
    """Whether the entry of a client's cursor comes before any attempt of the request."""
    queued = _queued(tape)
    return queued is not None and _in_log(tape, cursor).attempt == queued.attempt


def _in_log(tape: Tape, cursor: Cursor) -> Cursor:
    """The log's own cursor of the entry that a client's cursor is about."""
    queued = _queued(tape)
    if cursor.seq < BEHIND_SEQ or queued is None:
        return cursor
    return Cursor(queued.attempt, cursor.seq - BEHIND_SEQ)


def _queued(tape: Tape) -> Cursor | None:
    first = next(tape.entries_from(0), None)
    return first.cursor if first is not None and first.kind == "queued" else None
