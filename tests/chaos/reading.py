"""Pure: whether a reader got its log from its cursor to the end, each entry once."""

from collections.abc import Iterator, Sequence
from typing import Any

from tests.support.sse import Event
from tickertape.api.protocols.native.conversation_cursor import BEHIND_SEQ
from tickertape.broker.codec import Entry
from tickertape.broker.fold import fold

_NO_ENTRIES = frozenset({"watchers", "title", "erased", "position", "waiting"})
_TEXT = frozenset({"delta", "reasoning", "refusal"})


def reading_problems(events: Sequence[Event], log: Sequence[Entry], *, is_whole: bool) -> list[str]:
    """The faults in the events of one log, compared with that log as it is now.

    A `rewind` starts over. Events before it may be of a log that is lost, and prove nothing.
    With `is_whole` the reader received the terminal, so it must have all entries.
    """
    begun = max((n for n, event in enumerate(events) if event.kind == "rewind"), default=-1) + 1
    places = {str(entry.cursor): place for place, entry in enumerate(log)}
    problems: list[str] = []
    at = -1
    for event in events[begun:]:
        if event.kind == "gone":
            problems.append("received `gone` for a log that exists")
        elif event.kind not in _NO_ENTRIES:
            at = _follow(event, at, log, places, problems)
    if is_whole and at != len(log) - 1:
        problems.append(f"received the end after entry {at} of {len(log) - 1}")
    return problems


def turns_of(events: Sequence[Event]) -> Iterator[tuple[str, list[Event]]]:
    """The events of a conversation's stream by request, in runs: one run for a request is order.

    Those before a `rewind` of the whole conversation are left out, and what comes at any time: the
    counts of its watchers, its titles, and the notices of erased turns.
    """
    request_id = ""
    run: list[Event] = []
    for event in _since_rewind(events):
        if event.kind in {"watchers", "title", "erased"}:
            continue
        of = str(event.data.get("request_id", ""))
        if of != request_id and run:
            yield request_id, run
            run = []
        request_id = of
        run.append(_without_prefix(event, of))
    if run:
        yield request_id, run


def _follow(
    event: Event, at: int, log: Sequence[Entry], places: dict[str, int], problems: list[str]
) -> int:
    """Check one event against its entry; returns the place of that entry."""
    place = _place_of(event, places)
    if place is None:
        problems.append(f"got {event.kind} {event.cursor}, which is not in the log")
        return at
    if event.kind == "snapshot":
        if event.data["text"] != "".join(fold([*log[: place + 1]]).text):
            problems.append(f"got a snapshot at {event.cursor} that is not what the log says")
        return place
    if place <= at:
        problems.append(f"got {event.cursor} once more, after {log[at].cursor}")
    elif place > at + 1:
        problems.append(f"missed {place - at - 1} entries before {event.cursor}")
    if (event.kind, _text(event)) != (log[place].kind, log[place].text):
        problems.append(f"got another {event.kind} at {event.cursor} than the log has")
    return place


def _place_of(event: Event, places: dict[str, int]) -> int | None:
    # What comes before any attempt may name the end ahead in its id: conversation_cursor.py.
    seq = int(str(event.cursor).partition("-")[2] or 0) if event.cursor else 0
    if places and seq >= BEHIND_SEQ:
        return seq - BEHIND_SEQ
    return places.get(event.cursor or "")


def _text(event: Event) -> str:
    return str(event.data["text"]) if event.kind in _TEXT else ""


def _since_rewind(events: Sequence[Event]) -> Sequence[Event]:
    epoch = [n for n, e in enumerate(events) if e.kind == "rewind" and "request_id" not in e.data]
    return events[epoch[-1] + 1 :] if epoch else events


def _without_prefix(event: Event, request_id: str) -> Event:
    cursor: Any = event.cursor
    if cursor is not None:
        cursor = cursor.removeprefix(f"{request_id}:")
    return Event(cursor, event.kind, event.data)
