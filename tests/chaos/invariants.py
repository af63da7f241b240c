"""Pure: the invariants of every run, whatever died in it.

Each invariant is a function from a history to its violations, in words. A call whose outcome is not
known may or may not have happened: only what was answered is held against the system.
"""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterator
from itertools import pairwise

from tests.broker.invariants import keys_without_ttl
from tests.broker.invariants import violations as violations_at_rest
from tests.chaos.conversations import conversation_as_written, one_at_a_time, remembered
from tests.chaos.handing_on import handed_on
from tests.chaos.history import Accepted, Call, Final, History, Subscriber
from tests.chaos.losses import (
    loss_of_attempt,
    loss_of_cancel,
    loss_of_end,
    loss_of_opener,
    loss_of_request,
    noticed_loss,
    whole_by_itself,
)
from tests.chaos.payments import is_payment_open, paid_once
from tests.chaos.reading import reading_problems
from tests.chaos.speakers import own_words, whole_answers
from tests.chaos.words import words_of
from tickertape.broker.fold import fold
from tickertape.broker.kinds import OPENERS

# Seconds until an upstream's connection has to be closed by a worker without a fault.
CANCEL_WITHIN_S = 2.0
# The number of failed calls after which a request fails: see worker/retry.py.
_SLOW_TRIES = 3
_UPSTREAM_FAILURES = frozenset(
    {"upstream_stalled", "upstream_truncated", "upstream_error", "upstream_unreachable"}
)
_FORBIDDEN_BY_POLICY = frozenset({"interrupted", *_UPSTREAM_FAILURES})

Invariant = Callable[[History], Iterator[str]]


def violations(history: History) -> dict[str, list[str]]:
    """All violations, by the name of the invariant that they break."""
    found = {name: list(check(history)) for name, check in INVARIANTS.items()}
    return {name: problems for name, problems in found.items() if problems}


def _not_lost(history: History) -> Iterator[str]:
    for accepted in history.accepted:
        final = history.finals.get(accepted.request_id)
        if final is None or not final.entries:
            if final is not None or loss_of_request(history, accepted.request_id) is None:
                yield f"{accepted.request_id} was accepted and is not there"
        elif final.terminal is None:
            yield f"{accepted.request_id} has not ended: its last entry is {final.entries[-1].kind}"


def _one_end(history: History) -> Iterator[str]:
    for request_id, final in history.finals.items():
        ends = [entry.kind for entry in final.entries if entry.is_terminal]
        if len(ends) > 1 or (ends and final.terminal is None):
            yield f"{request_id} has the ends {ends}, and last a {final.entries[-1].kind}"
        elif ends and final.stored.get("state") != ends[0]:
            yield f"{request_id} ends {ends[0]}, and its state is {final.stored.get('state')}"


def _contiguous_ids(history: History) -> Iterator[str]:
    for request_id, final in history.finals.items():
        if not final.entries or final.entries[0].kind != "queued":
            yield f"{request_id} does not begin with queued"
        attempts = 0
        for before, entry in pairwise(final.entries):
            if entry.kind not in OPENERS:
                if entry.cursor != before.cursor.next():
                    yield f"{request_id}: {entry.cursor} follows {before.cursor}"
                continue
            attempts += 1
            if entry.cursor.attempt <= before.cursor.attempt or entry.cursor.seq != 0:
                yield f"{request_id}: the attempt {entry.cursor} follows {before.cursor}"
            if entry.data.get("prev") != str(before.cursor) or entry.data.get("n") != attempts:
                yield f"{request_id}: attempt {attempts} at {entry.cursor} shows as {entry.data}"


def _read_as_written(history: History) -> Iterator[str]:
    for subscriber in history.subscribers:
        if subscriber.request_id is None:
            yield from conversation_as_written(history, subscriber)
            continue
        for problem in _reading_problems(history, subscriber, subscriber.request_id):
            yield f"{subscriber.name} of {subscriber.request_id} {problem}"


def _reading_problems(history: History, subscriber: Subscriber, request_id: str) -> Iterator[str]:
    final = history.finals.get(request_id)
    if final is None and loss_of_request(history, request_id) is not None:
        if not noticed_loss(history, subscriber):
            yield "was not told that the request was lost"
    elif final is not None and loss_of_end(history, subscriber, final) is not None:
        words = {each.request_id: each.words for each in history.accepted}
        yield from whole_by_itself(subscriber.events, words[request_id])
    else:
        log = final.entries if final else []
        missed = {(each.request_id, each.caller) for each in history.missed}
        is_whole = subscriber.has_ended and (request_id, subscriber.name) not in missed
        yield from reading_problems(subscriber.events, log, is_whole=is_whole)


def _missing_is_lost(history: History) -> Iterator[str]:
    for missed in history.missed:
        if missed.request_id in history.finals:
            yield f"{missed.caller} of {missed.request_id} was answered 404, and it is there"


def _refused_by_a_stop(history: History) -> Iterator[str]:
    """A process that stops refuses a call only if the call has waited for Redis for too long."""
    troubles = [each for each in history.troubles if not each.kind.startswith("worker")]
    for drained in history.drained:
        retry_after = drained.retry_after or ""
        if not retry_after.isdigit() or int(retry_after) < 1:
            yield f"{drained.call} was refused with Retry-After {retry_after!r}"
        waited = any(
            each.begin_s <= drained.end_s and drained.begin_s <= each.end_s for each in troubles
        )
        if not waited:
            took_s = drained.end_s - drained.begin_s
            yield f"{drained.call} was refused after {took_s:.2f} s without trouble"


def _same_text(history: History) -> Iterator[str]:
    for request_id, final in history.finals.items():
        if final.terminal is None:
            continue
        text = "".join(fold(final.entries).text)
        if final.view.get("text") != text:
            yield f"{request_id}: the API returns another text than its log"
        checksum = hashlib.sha256(text.encode()).hexdigest()
        if final.terminal.kind == "completed" and final.terminal.data.get("sha256") != checksum:
            yield f"{request_id}: the checksum is of another text"


def _idempotent(history: History) -> Iterator[str]:
    by_key: dict[tuple[str, str | None, str], set[str]] = defaultdict(set)
    for accepted in history.accepted:
        by_key[accepted.tenant, accepted.conversation, accepted.key].add(accepted.request_id)
    for (tenant, _, key), ids in by_key.items():
        lost = {id_ for id_ in ids - history.finals.keys() if loss_of_request(history, id_)}
        if len(ids - lost) > 1:
            yield f"the key {key} of {tenant} is {len(ids)} requests"
    calls = history.calls_by_tag()
    for accepted, final in history.outcomes():
        speaking = sum(call.words_sent > 0 for call in calls[accepted.tag])
        attempts = sum(entry.kind in OPENERS for entry in final.entries)
        starts_s = [call.started_at_s for call in calls[accepted.tag]]
        if speaking > attempts and loss_of_attempt(history, accepted, starts_s) is None:
            called = ", ".join(f"{each:.2f}" for each in starts_s)
            yield (
                f"{accepted.request_id}: {speaking} calls spoke for {attempts} attempts; submitted"
                f" at {accepted.asked_s:.2f} s, called at {called}"
                f" ({accepted.function or 'no function'})"
            )


def _cancelled_for_good(history: History) -> Iterator[str]:
    calls = history.calls_by_tag()
    tags = {accepted.request_id: accepted.tag for accepted in history.accepted}
    for cancelled in history.cancels:
        final = history.finals.get(cancelled.request_id)
        if final is None or cancelled.status != "cancelled" or loss_of_cancel(history, cancelled):
            continue
        if final.terminal is None or final.terminal.kind != "cancelled":
            yield f"{cancelled.request_id} was cancelled, and something follows that"
        due_s = history.undisturbed_s(cancelled.at_s, CANCEL_WITHIN_S) + CANCEL_WITHIN_S
        for call in calls[tags[cancelled.request_id]]:
            if call.outcome is None:
                yield f"{cancelled.request_id} was cancelled, and its upstream is still at work"
            elif call.closed_at_s is not None and call.closed_at_s > due_s:
                late_s = call.closed_at_s - cancelled.at_s
                yield f"{cancelled.request_id}: {late_s:.2f} s until its upstream was left"


def _nothing_left(history: History) -> Iterator[str]:
    queues = ("wait:", "ring", "suspect", "running", "delayed", "tenant:", "claim:")
    for at_rest in history.at_rest:
        yield from violations_at_rest(at_rest)
        for name in at_rest.keys:
            if name.startswith(queues) and not at_rest.keys[name].expires:
                yield f"{name} is not empty"
        for name in sorted(keys_without_ttl(at_rest)):
            yield f"{name} stays without limit"


def _allowed_failures(history: History) -> Iterator[str]:
    calls = history.calls_by_tag()
    for accepted, final in history.outcomes():
        if final.terminal is not None and final.terminal.kind == "failed":
            code = final.terminal.data.get("code")
            is_open = code == "interrupted" and is_payment_open(history, accepted)
            if not is_open and not _may_fail(
                code, accepted, final, calls[accepted.tag], history.max_crashes
            ):
                yield f"{accepted.request_id} ({accepted.policy}) failed: {code}"


def _may_fail(
    code: object, accepted: Accepted, final: Final, calls: list[Call], max_crashes: int
) -> bool:
    if code == "poison":
        return int(final.stored.get("crashes", 0)) >= max_crashes
    if accepted.policy == "restart":
        broken = sum(call.outcome != "answered" for call in calls)
        return code in _UPSTREAM_FAILURES and broken >= _SLOW_TRIES
    return code in _FORBIDDEN_BY_POLICY


def _isolated(history: History) -> Iterator[str]:
    for subscriber in history.subscribers:
        for event in subscriber.events:
            if event.kind in {"delta", "snapshot"}:
                words = words_of(event.data["text"])
                if words is None or {word.tenant for word in words} - {subscriber.tenant}:
                    text = event.data["text"][:80]
                    yield f"{subscriber.name} of {subscriber.tenant} got {text!r}"


def _refused_whole(history: History) -> Iterator[str]:
    for refusal in history.refusals:
        retry_after = refusal.retry_after or ""
        if refusal.status not in {429, 503} or not retry_after.isdigit() or int(retry_after) < 1:
            yield f"{refusal.key} was refused with {refusal.status} and Retry-After {retry_after!r}"
    accepted = {each.request_id for each in history.accepted}
    for at_rest in history.at_rest:
        for name, _ in at_rest.named("req:"):
            if name not in accepted:
                yield f"{name} is there, and no submit that returned it"


def _accounted_once(history: History) -> Iterator[str]:
    for request_id, final in history.finals.items():
        attempts = {str(e.cursor.attempt) for e in final.entries if e.kind in OPENERS}
        noted = {name.partition(":")[2] for name in final.stored if name.startswith("usage:")}
        for attempt in sorted(noted - attempts):
            # The upstream was called for it, and its call has a price.
            if loss_of_opener(history, request_id, int(attempt)) is None:
                yield f"{request_id}: usage:{attempt} is of no attempt of it"
        last = final.entries[-1] if final.entries else None
        if last is not None and last.kind == "completed":
            name = f"usage:{last.cursor.attempt}"
            if name not in final.stored:
                yield f"{request_id} is completed, and its usage is not noted"


def _nothing_odd(history: History) -> Iterator[str]:
    yield from history.odd


INVARIANTS: dict[str, Invariant] = {
    "I1 what was accepted is there and ends": _not_lost,
    "I2 one end, and nothing after it": _one_end,
    "I3 ids without holes, attempts in order": _contiguous_ids,
    "I4 an attempt holds the words of its own call": own_words,
    "I5 a reader gets the log, each entry once": _read_as_written,
    "I6 one text for all, and its checksum": _same_text,
    "I7 a completed answer is whole": whole_answers,
    "I8 one key, one request, one answer": _idempotent,
    "I9 a cancel ends it for good, upstream included": _cancelled_for_good,
    "I10 nothing is left of what is over": _nothing_left,
    "I11 a request fails only as it may": _allowed_failures,
    "I12 a tenant gets its own words only": _isolated,
    "I13 what is refused leaves nothing": _refused_whole,
    "I16 a conversation has one active request": one_at_a_time,
    "I18 a conversation remembers its turns": remembered,
    "I17 an attempt is accounted for once": _accounted_once,
    "I19 what is not found is lost": _missing_is_lost,
    "I20 a stop refuses only what Redis delayed": _refused_by_a_stop,
    "I21 the tool of a function runs once": paid_once,
    "I22 what is over is handed on": handed_on,
    "nothing odd was answered or logged": _nothing_odd,
}
