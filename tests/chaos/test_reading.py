"""How the events of a conversation are divided among its requests."""

from tests.chaos.reading import reading_problems, turns_of
from tests.support.sse import Event
from tickertape.api.protocols.native.conversation_cursor import BEHIND_SEQ


def of(request_id: str, kind: str, cursor: str) -> Event:
    return Event(f"{request_id}:{cursor}", kind, {"request_id": request_id})


def test_a_count_of_watchers_does_not_divide_the_events_of_a_request() -> None:
    count = Event(None, "watchers", {"count": 2})
    events = [count, of("a", "queued", "1-0"), count, of("a", "started", "1-1"), count]
    assert [(request_id, len(run)) for request_id, run in turns_of(events)] == [("a", 2)]


def test_what_came_before_a_rewind_of_the_conversation_is_left_out() -> None:
    rewind = Event("", "rewind", {"reason": "forgotten"})
    events = [of("a", "queued", "1-0"), rewind, of("b", "queued", "1-0")]
    assert [request_id for request_id, _ in turns_of(events)] == ["b"]


def test_a_turn_ahead_of_a_log_that_is_lost_is_named() -> None:
    ahead = Event(f"1-{BEHIND_SEQ}", "queued", {})
    assert reading_problems([ahead], [], is_whole=False) == [
        f"got queued 1-{BEHIND_SEQ}, which is not in the log"
    ]
