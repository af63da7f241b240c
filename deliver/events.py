"""Pure: the event that tells a receiver of the end of a request, with OpenAI's names and form."""

from typing import Any, Literal, TypeAlias, get_args

import msgspec

from tickertape.broker.codec import Cursor, decode
from tickertape.broker.errors import EntryMalformed
from tickertape.broker.outbox import Ended

EventType: TypeAlias = Literal[
    "response.completed", "response.failed", "response.cancelled", "response.incomplete"
]
EVENT_TYPES: tuple[EventType, ...] = get_args(EventType)
_WHOLE = {"stop", "tool_calls", "function_call", None}
_RESPONSES_WIRE = "responses"


class Event(msgspec.Struct, frozen=True):
    """What is sent: no text of the user or of the model, which a receiver reads with `data.id`."""

    id: str
    type: EventType
    created_at: int
    data: dict[str, str]
    object: str = "event"


def event_of(ended: Ended) -> Event:
    """The event of a request. Its id is the same whenever it is sent, and no other event has it."""
    is_response = ended.wire == _RESPONSES_WIRE
    data = {
        "id": f"resp_{ended.request_id}" if is_response else ended.request_id,
        "request_id": ended.request_id,
    }
    created_s = ended.ended_ms // 1000
    return Event(f"evt_{ended.request_id}", _type_of(ended), created_s, data)


def _type_of(ended: Ended) -> EventType:
    match ended.state:
        case "failed":
            return "response.failed"
        case "cancelled":
            return "response.cancelled"
        case _:
            reason = _end_of(ended).get("finish_reason")
            return "response.completed" if reason in _WHOLE else "response.incomplete"


def _end_of(ended: Ended) -> dict[str, Any]:
    try:
        return decode(Cursor(0, 0), ended.end).data
    except EntryMalformed:
        return {}
