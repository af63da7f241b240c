"""Pure: what a fail-over lost as docs/guarantees.md says it may, and whether its readers noticed.

A promoted replica may lack the last writes that its master acknowledged. The faults record when and
in which partitions that may have happened. What is missing for no such reason is a violation.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise

from tests.chaos.history import Accepted, Cancelled, Final, History, Loss, Subscriber
from tests.chaos.words import is_whole, words_of
from tests.support.sse import TERMINAL_EVENTS, Event, text_of
from tickertape.broker.codec import Cursor
from tickertape.broker.kinds import OPENERS
from tickertape.broker.request_ids import parse_partition

# A tail check a second, and a process that is paused for three.
_NOTICED_WITHIN_S = 10.0
# Two clocks are read one after the other.
_CLOCK_STEP_S = 0.05


def loss_between(history: History, request_id: str, begin_s: float, end_s: float) -> Loss | None:
    """A loss that may have taken writes to the request's partition that were made in this time."""
    partition = parse_partition(request_id)
    for loss in history.losses:
        if partition in loss.partitions and begin_s <= loss.end_s and loss.begin_s <= end_s:
            return loss
    return None


def loss_of_request(history: History, request_id: str) -> Loss | None:
    """The loss that may have taken a whole request: it was accepted in that time."""
    submits = [each for each in history.accepted if each.request_id == request_id]
    return loss_between(
        history,
        request_id,
        min(each.asked_s for each in submits),
        min(each.answered_s for each in submits),
    )


def loss_of_cancel(history: History, cancelled: Cancelled) -> Loss | None:
    """The loss that may have taken a cancel, after which the request goes on."""
    return loss_between(history, cancelled.request_id, cancelled.asked_s, cancelled.at_s)


def loss_of_opener(history: History, request_id: str, attempt: int) -> Loss | None:
    """The loss that may have taken an attempt, which is named after its start in ms."""
    began_s = attempt / 1000 - history.clock_ahead_s
    return loss_between(history, request_id, began_s - _CLOCK_STEP_S, began_s + _CLOCK_STEP_S)


def loss_of_attempt(history: History, accepted: Accepted, starts_s: Sequence[float]) -> Loss | None:
    """The loss that may have taken an attempt, which called the upstream at one of these times.

    A lost request may have made the first call, before its submit was sent again.
    """
    first_asked_s = history.first_asked_s.get(accepted.tag, accepted.asked_s)
    begin_s = min(first_asked_s, accepted.asked_s, *starts_s)
    return loss_between(history, accepted.request_id, begin_s, max(starts_s))


def loss_of_end(history: History, subscriber: Subscriber, final: Final) -> Loss | None:
    """The loss that may have taken the terminal that a reader got; the request ended once more.

    The reader has read to the end and left, so nobody can tell it. A reader that gets such an end
    long after the fail-over has got it from a process that did not notice the fail-over. While both
    servers take writes, one may end the attempt under the id that the other gives to its output.
    """
    end = _terminal_of(subscriber)
    if end is None or (end.cursor, end.kind) in {(str(e.cursor), e.kind) for e in final.entries}:
        return None
    began_s = Cursor.parse(str(end.cursor).encode()).attempt / 1000 - history.clock_ahead_s
    ended_s = subscriber.ended_s
    loss = loss_between(history, str(subscriber.request_id), began_s, ended_s)
    return loss if loss is not None and ended_s <= loss.end_s + _NOTICED_WITHIN_S else None


def noticed_loss(history: History, subscriber: Subscriber) -> bool:
    """Whether the reader of a lost request was told, or had read to the end before."""
    missed = {(each.request_id, each.caller) for each in history.missed}
    return (
        (subscriber.request_id, subscriber.name) in missed
        or any(event.kind == "gone" for event in subscriber.events)
        or _terminal_of(subscriber) is not None
    )


def whole_by_itself(events: Sequence[Event], words: int) -> Iterator[str]:
    """What is wrong with the events of a log that is lost: ids with holes, words of two answers."""
    begun = max((n for n, event in enumerate(events) if event.kind == "rewind"), default=-1) + 1
    entries = [event for event in events[begun:] if event.cursor]
    for before, after in pairwise(entries):
        follows = str(Cursor.parse(str(before.cursor).encode()).next())
        if after.kind not in OPENERS and after.cursor != follows:
            yield f"got {after.cursor} after {before.cursor} of a log that was lost later"
    if entries and entries[-1].kind == "completed":
        spoken = words_of(text_of(events[begun:]))
        if spoken is None or not is_whole(spoken, words):
            yield "got the end of an answer that is not whole, of a log that was lost later"


def documented_losses(history: History) -> list[str]:
    """Every loss that broke no invariant, and the reason."""
    return [*_lost_requests(history), *_lost_cancels(history), *_lost_ends(history)]


def _lost_requests(history: History) -> Iterator[str]:
    for request_id, accepted in {each.request_id: each for each in history.accepted}.items():
        if request_id not in history.finals and (loss := loss_of_request(history, request_id)):
            readers = [each for each in history.subscribers if each.request_id == request_id]
            told = sum(noticed_loss(history, reader) for reader in readers)
            yield (
                f"{request_id}, accepted {accepted.answered_s - loss.begin_s:.2f} s after its"
                f" replica had everything: {loss.kind}; {told} of {len(readers)} readers know"
            )


def _lost_cancels(history: History) -> Iterator[str]:
    for cancelled in history.cancels:
        final = history.finals.get(cancelled.request_id)
        is_lost = final is not None and final.terminal and final.terminal.kind != cancelled.status
        if is_lost and (loss := loss_of_cancel(history, cancelled)):
            yield f"{cancelled.request_id}, whose cancel was answered: {loss.kind}"


def _lost_ends(history: History) -> Iterator[str]:
    for subscriber in history.subscribers:
        final = history.finals.get(subscriber.request_id or "")
        if final is not None and (loss := loss_of_end(history, subscriber, final)):
            yield f"{subscriber.request_id}, whose end {subscriber.name} had read: {loss.kind}"


def _terminal_of(subscriber: Subscriber) -> Event | None:
    return next((e for e in reversed(subscriber.events) if e.kind in TERMINAL_EVENTS), None)
