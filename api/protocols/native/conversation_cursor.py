"""Pure: a point in a conversation, as the event ids of its stream name it.

A request may be queued before the turn ahead of it begins. A client gets its `queued` behind the
end of that turn. Redis may lose that end, and the turn then ends in another attempt. So the id of
such a `queued` names the attempt of the end ahead, in the form of a cursor that no log has.
"""

from typing import NamedTuple

from msgspec.structs import replace

from tickertape.api.fanout.tape import Tape
from tickertape.broker import request_ids
from tickertape.broker.codec import Cursor, Entry
from tickertape.broker.errors import CursorMalformed

# No attempt has so many entries.
BEHIND_SEQ = 9_999_999_999


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


def queued_behind(tape: Tape, attempt: int) -> Entry | None:
    """The entry `queued` as it is sent behind an end in this attempt of the turn ahead.

    None if the entry is not older than that attempt, and is sent as it is.
    """
    first = _first_if_queued(tape)
    if first is None or first.cursor.attempt >= attempt:
        return None
    return replace(first, cursor=Cursor(attempt, BEHIND_SEQ))


def position_after(tape: Tape, cursor: Cursor) -> int | None:
    """The position of the entry after a cursor of a client; None if the tape has no such entry."""
    if cursor.seq != BEHIND_SEQ:
        return tape.position_after(cursor)
    return None if _first_if_queued(tape) is None else 1


def _first_if_queued(tape: Tape) -> Entry | None:
    first = next(tape.entries_from(0), None)
    return first if first is not None and first.kind == "queued" else None
