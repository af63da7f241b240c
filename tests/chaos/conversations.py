"""Pure: the invariants of conversations."""

from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise

from tests.chaos.history import Accepted, Final, History, Subscriber
from tests.chaos.losses import loss_of_request
from tests.chaos.reading import reading_problems, turns_of
from tickertape.broker.fold import fold
from tickertape.broker.kinds import OPENERS
from tickertape.broker.turns import STOPPED


def conversation_as_written(history: History, subscriber: Subscriber) -> Iterator[str]:
    """A follower gets every request of its conversation whole, and one after the other."""
    seen: set[str] = set()
    turns = list(turns_of(subscriber.events))
    for number, (request_id, events) in enumerate(turns, start=1):
        if request_id in seen:
            yield f"{subscriber.name} came back to {request_id} after another request"
        seen.add(request_id)
        final = history.finals.get(request_id)
        is_told = any(event.kind == "gone" for event in events)
        if final is None and is_told and loss_of_request(history, request_id):
            continue
        is_whole = number < len(turns) or subscriber.has_ended
        for problem in reading_problems(events, final.entries if final else [], is_whole=is_whole):
            yield f"{subscriber.name} of {request_id} {problem}"
    if subscriber.has_ended:
        asked = {a.request_id for a in history.accepted if _is_of(a, subscriber)}
        for request_id in sorted(asked - seen):
            if request_id not in history.finals and loss_of_request(history, request_id):
                continue
            yield f"{subscriber.name} never saw {request_id}"


def one_at_a_time(history: History) -> Iterator[str]:
    """A conversation runs one request at a time. An attempt's number is its start in ms."""
    spans: dict[tuple[str, str], list[tuple[int, int, str]]] = defaultdict(list)
    for accepted, final in history.outcomes():
        begins = [entry.cursor.attempt for entry in final.entries if entry.kind in OPENERS]
        if accepted.conversation is not None and begins:
            span = (begins[0], int(final.stored.get("ended", begins[-1])), accepted.request_id)
            spans[accepted.tenant, accepted.conversation].append(span)
    for line in spans.values():
        for (_, ended, first), (began, _, second) in pairwise(sorted(line)):
            if began < ended:
                yield f"{second} began before {first} of its conversation had ended"


def remembered(history: History) -> Iterator[str]:
    """The prompt of an attempt contains the turns before it, however they ended."""
    calls = {(call.tag, call.number): call for call in history.calls}
    lines: dict[tuple[str, str], list[tuple[Accepted, Final]]] = defaultdict(list)
    for accepted, final in history.outcomes():
        if accepted.conversation is not None:
            lines[accepted.tenant, accepted.conversation].append((accepted, final))
    for line in lines.values():
        memory: list[tuple[str, str]] = []
        for accepted, final in sorted(line, key=lambda turn: turn[1].asked):
            for number in final.calls():
                call = calls.get((accepted.tag, number))
                if call is not None and list(call.memory) != memory:
                    yield f"{accepted.request_id}: call {number} was sent other turns"
            if text := _remembered_text(final):
                memory.append((accepted.tag, text))


def _remembered_text(final: Final) -> str:
    text = "".join(fold(final.entries).text)
    if final.terminal is None:
        return ""
    if final.terminal.kind == "cancelled":
        return f"{text}\n\n{STOPPED}" if text else STOPPED
    return text


def _is_of(accepted: Accepted, subscriber: Subscriber) -> bool:
    mine = (subscriber.tenant, subscriber.conversation)
    return (accepted.tenant, accepted.conversation) == mine
