"""The checker tells a loss that a fail-over may cause from one that nothing excuses."""

from dataclasses import replace

import pytest

from tests.chaos.history import (
    Accepted,
    Call,
    Cancelled,
    Final,
    History,
    Loss,
    Missed,
    Subscriber,
)
from tests.chaos.invariants import violations
from tests.chaos.losses import documented_losses, loss_of_end
from tests.chaos.sample import TAG, WORDS, completed, delta, events_of, opener, stored, word
from tests.support.sse import Event
from tickertape.broker.codec import Cursor, Entry

ID = "r3_" + "a" * 26
READER = "reader 1"
LOSS = Loss("master killed", frozenset({3}), begin_s=100.0, end_s=101.0)


def log(attempt: int, call: int) -> list[Entry]:
    """A completed log, whose attempt began at this time in ms."""
    return [
        Entry(Cursor(attempt - 1, 0), "queued", data={"v": 1}),
        opener(attempt, "started", f"{attempt - 1}-0", 1),
        *(delta(attempt, 1 + n, word(n, call)) for n in range(WORDS)),
        completed(attempt, 1 + WORDS, "".join(word(n, call) for n in range(WORDS))),
    ]


def lost_history() -> History:
    """A request that was accepted at 100.5 s, and is gone."""
    return History(
        max_crashes=3,
        clock_ahead_s=0,
        accepted=[Accepted(ID, "ada", "key-1", TAG, WORDS, asked_s=100.4, answered_s=100.5)],
        subscribers=[Subscriber(READER, "ada", ID, has_ended=True)],
        missed=[Missed(ID, READER)],
        losses=[LOSS],
    )


def test_a_request_accepted_while_writes_were_lost_may_be_gone() -> None:
    history = lost_history()
    assert violations(history) == {}
    (reason,) = documented_losses(history)
    assert reason == (
        f"{ID}, accepted 0.50 s after its replica had everything: master killed;"
        " 1 of 1 readers know"
    )


@pytest.mark.parametrize(
    "loss",
    [
        replace(LOSS, partitions=frozenset({0, 1, 2, 4})),
        replace(LOSS, begin_s=100.6),
        replace(LOSS, begin_s=90.0, end_s=100.3),
    ],
    ids=["another partition", "before the loss", "after the loss"],
)
def test_a_request_accepted_at_any_other_time_or_place_may_not(loss: Loss) -> None:
    history = lost_history()
    history.losses = [loss]
    assert "I1 what was accepted is there and ends" in violations(history)
    assert documented_losses(history) == []


def test_a_repeated_submit_of_a_request_that_was_safe_before_the_loss_excuses_nothing() -> None:
    history = lost_history()
    first = replace(history.accepted[0], asked_s=90.0, answered_s=90.1)
    history.accepted.insert(0, first)
    assert "I1 what was accepted is there and ends" in violations(history)


def test_a_reader_of_a_lost_request_has_to_be_told() -> None:
    history = lost_history()
    history.missed = []
    assert violations(history) == {
        "I5 a reader gets the log, each entry once": [
            f"{READER} of {ID} was not told that the request was lost"
        ]
    }
    history.subscribers[0].events = [Event(None, "gone", {})]
    assert violations(history) == {}


def test_a_key_may_name_another_request_once_the_first_is_lost() -> None:
    history = lost_history()
    again = replace(history.accepted[0], request_id="r3_" + "b" * 26, tag="ada/2")
    history.accepted.append(again)
    end = [*log(102_000, 1)]
    history.finals[again.request_id] = Final(end, {}, {})
    assert "I8 one key, one request, one answer" not in violations(history)
    history.losses = []
    assert "I8 one key, one request, one answer" in violations(history)


def test_a_call_of_a_lost_attempt_is_excused_by_the_first_of_its_repeated_submits() -> None:
    """The upstream gets the call a moment after the old primary has died."""
    again, (first, *_) = log(103_000, 2), lost_history().accepted
    history = History(
        max_crashes=3,
        clock_ahead_s=0,
        accepted=[first, replace(first, asked_s=110.0, answered_s=110.1)],
        calls=[Call(TAG, 1, 101.2, WORDS, "answered"), Call(TAG, 2, 103.1, WORDS, "answered")],
        finals={ID: Final(again, stored("completed", 104, **{"usage:103000": "{}"}), {})},
        losses=[LOSS],
    )
    assert "I8 one key, one request, one answer" not in violations(history)
    history.losses = []
    assert "I8 one key, one request, one answer" in violations(history)


def test_a_call_of_a_lost_request_is_excused_when_its_submit_makes_another_request() -> None:
    """The submit was sent again after the fail-over, perhaps because it had got no answer."""
    history = lost_history()
    other_id = "r3_" + "b" * 26
    history.accepted = [
        replace(history.accepted[0], request_id=other_id, asked_s=110.0, answered_s=110.1)
    ]
    history.subscribers, history.missed = [], []
    history.first_asked_s = {TAG: 100.4}
    history.calls = [Call(TAG, n, at_s, WORDS, "answered") for n, at_s in ((1, 101.2), (2, 110.3))]
    history.finals = {other_id: Final(log(110_200, 2), {}, {})}
    assert "I8 one key, one request, one answer" not in violations(history)
    history.first_asked_s = {TAG: 101.1}
    assert "I8 one key, one request, one answer" in violations(history)


def end_read_before_the_loss(*, began_ms: int, ended_s: float) -> History:
    """A reader has a whole answer, of which the log lost the end; the request ended once more."""
    begun, again = log(began_ms, 1), log(102_000, 2)
    text = "".join(word(n, 2) for n in range(WORDS))
    return History(
        max_crashes=3,
        clock_ahead_s=0,
        accepted=[Accepted(ID, "ada", "key-1", TAG, WORDS, asked_s=99.0, answered_s=99.1)],
        subscribers=[
            Subscriber(READER, "ada", ID, events=events_of(begun), has_ended=True, ended_s=ended_s)
        ],
        calls=[Call(TAG, 1, 99.2, WORDS, "answered"), Call(TAG, 2, 102.0, WORDS, "answered")],
        finals={
            ID: Final(again, stored("completed", 103, **{"usage:102000": "{}"}), {"text": text})
        },
        losses=[LOSS],
    )


def test_a_reader_may_have_read_an_end_that_was_lost_afterwards() -> None:
    history = end_read_before_the_loss(began_ms=99_500, ended_s=100.8)
    assert violations(history) == {}
    assert documented_losses(history) == [f"{ID}, whose end {READER} had read: master killed"]


def test_a_lost_end_may_have_an_id_that_the_log_gave_to_output() -> None:
    history = end_read_before_the_loss(began_ms=99_500, ended_s=100.8)
    (reader,) = history.subscribers
    *_, end = log(99_500, 1)
    output = Entry(end.cursor, "delta", word(WORDS, 1))
    assert loss_of_end(history, reader, Final([output], {}, {})) is LOSS
    assert loss_of_end(history, reader, Final([end], {}, {})) is None


@pytest.mark.parametrize(
    ("began_ms", "ended_s"),
    [(99_500, 120.0), (99_500, 99.9), (101_500, 103.0)],
    ids=["long after the loss", "before the loss", "written after the loss"],
)
def test_an_end_read_at_any_other_time_has_to_be_in_the_log(began_ms: int, ended_s: float) -> None:
    found = violations(end_read_before_the_loss(began_ms=began_ms, ended_s=ended_s))
    assert "I5 a reader gets the log, each entry once" in found


def test_an_answer_that_was_lost_has_to_be_whole_by_itself() -> None:
    history = end_read_before_the_loss(began_ms=99_500, ended_s=100.8)
    del history.subscribers[0].events[3]
    (problems,) = violations(history).values()
    assert len(problems) == 2


def test_a_cancel_may_be_lost() -> None:
    history = end_read_before_the_loss(began_ms=99_500, ended_s=100.8)
    history.cancels = [Cancelled(ID, "cancelled", at_s=100.6, asked_s=100.5)]
    assert violations(history) == {}
    history.cancels = [Cancelled(ID, "cancelled", at_s=99.9, asked_s=99.8)]
    assert "I9 a cancel ends it for good, upstream included" in violations(history)
