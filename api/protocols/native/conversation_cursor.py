"""Pure: a point in a conversation, as the event ids of its stream name it."""

from typing import NamedTuple

from tickertape.broker import request_ids
from tickertape.broker.codec import Cursor
from tickertape.broker.errors import CursorMalformed


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
