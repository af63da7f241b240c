"""The checker itself: a sound history passes, and each invariant catches what would break it."""

import copy
from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.broker.snapshot import Snapshot, Stored
from tests.chaos.functions import ONCE, PAYER, WORDS_OF_STEP
from tests.chaos.handing_on import Handed
from tests.chaos.history import (
    Call,
    Drained,
    FunctionStep,
    History,
    Missed,
    Refusal,
    StepEvent,
    Trouble,
)
from tests.chaos.invariants import INVARIANTS, violations
from tests.chaos.sample import (
    TAG,
    WORDS,
    begun_twice,
    completed,
    delta,
    events_of,
    opener,
    sound_history,
    word,
)
from tests.chaos.words import words_of
from tests.support.sse import Event
from tickertape.broker.codec import Cursor, Entry

Break = Callable[[History], object]


@pytest.fixture
def history() -> History:
    return sound_history()


def test_a_sound_history_breaks_nothing(history: History) -> None:
    assert violations(history) == {}


def handed(history: History) -> Handed:
    assert history.handed is not None
    return history.handed


def change_log(history: History, change: Callable[[list[Entry]], object]) -> None:
    """Change a log after everyone has read it."""
    change(history.finals["a"].entries)


def set_entry(history: History, place: int, entry: Entry) -> None:
    """Act as if a wrong entry had been written, which every reader got."""
    history.finals["a"].entries[place] = entry
    [event] = events_of([entry])
    history.subscribers[0].events[place] = event


def zombie(history: History) -> None:
    set_entry(history, 5, delta(30, 2, word(1, call=1)))


def foreign(history: History) -> None:
    set_entry(history, 5, delta(30, 2, word(1, call=2, tag="ada/9")))


def of_an_earlier_call(history: History) -> None:
    for place, number in ((4, 0), (5, 1), (6, 2)):
        set_entry(history, place, delta(30, number + 1, word(number, call=1)))


def other_tenants(history: History) -> None:
    set_entry(history, 5, delta(30, 2, word(1, call=2, tag="eve/7")))


def doubled_word(history: History) -> None:
    set_entry(history, 5, delta(30, 2, word(0, call=2)))


def two_ends(history: History) -> None:
    history.finals["a"].entries.append(Entry(Cursor(30, 5), "cancelled"))


def cancelled_and_goes_on(history: History) -> None:
    history.finals["b"].entries.append(delta(60, 3, word(1, tag="ada/2")))


def drop_event(history: History) -> None:
    del history.subscribers[0].events[4]


def repeat_event(history: History) -> None:
    history.subscribers[0].events.insert(4, history.subscribers[0].events[4])


def miss_the_end(history: History) -> None:
    del history.subscribers[0].events[-1]


def other_text(history: History) -> None:
    old = history.subscribers[0].events[4]
    history.subscribers[0].events[4] = Event(old.cursor, "delta", {"text": word(7, call=2)})


def unknown_id(history: History) -> None:
    old = history.subscribers[0].events[4]
    history.subscribers[0].events[4] = Event("31-9", "delta", old.data)


def wrong_snapshot(history: History) -> None:
    cursor = str(history.finals["a"].entries[5].cursor)
    events = history.subscribers[0].events
    events[:6] = [Event(cursor, "snapshot", {"text": word(0, call=2)})]


def gone_notice(history: History) -> None:
    history.subscribers[0].events.append(Event(None, "gone", {}))


def turns_interleaved(history: History) -> None:
    events = history.subscribers[1].events
    events.insert(1, events.pop(9))


def turn_not_seen(history: History) -> None:
    history.subscribers[1].events = events_of(begun_twice(), "a:", request_id="a")


def doubled_request(history: History) -> None:
    history.accepted.append(replace(history.accepted[0], request_id="c"))
    history.finals["c"] = copy.deepcopy(history.finals["a"])


def doubled_answer(history: History) -> None:
    history.calls.append(Call(TAG, 3, 93.0, 3, "answered"))


def upstream_left_late(history: History) -> None:
    history.calls[2] = replace(history.calls[2], closed_at_s=104.0)


def upstream_never_left(history: History) -> None:
    history.calls[2] = replace(history.calls[2], outcome=None, closed_at_s=None)


def completed_after_cancel(history: History) -> None:
    history.finals["b"].entries[-1] = completed(60, 2, word(0, tag="ada/2"))
    history.finals["b"].stored["state"] = "completed"


def unfinished(history: History) -> None:
    del history.finals["a"].entries[-1]


def failed(code: str) -> Break:
    def fail(history: History) -> None:
        set_entry(history, -1, Entry(Cursor(30, 4), "failed", data={"code": code}))
        history.finals["a"].stored["state"] = "failed"

    return fail


def overlapping_turns(history: History) -> None:
    history.finals["a"].stored["ended"] = "61"


def unnoted_usage(history: History) -> None:
    del history.finals["a"].stored["usage:30"]


def usage_of_no_attempt(history: History) -> None:
    history.finals["a"].stored["usage:31"] = "{}"


def note_again(event: StepEvent, function: str = PAYER) -> Break:
    def note(history: History) -> None:
        history.accepted[2] = replace(history.accepted[2], function=function)
        history.steps.append(FunctionStep("p", WORDS_OF_STEP, event, 112.0))

    return note


def failed_function(*, is_kept: bool) -> Break:
    def fail(history: History) -> None:
        final = history.finals["p"]
        final.entries[-1] = Entry(final.entries[-1].cursor, "failed", data={"code": "interrupted"})
        final.stored["state"] = "failed"
        if not is_kept:
            history.steps = [step for step in history.steps if step.event != "kept"]

    return fail


def repeats_another_text(history: History) -> None:
    """The function spoke other words again than those of its checkpoint."""
    log = history.finals["p"].entries
    place = next(n for n, entry in enumerate(log) if entry.kind == "reset") + 1
    log[place] = delta(90, 1, word(0, call=3, tag="ada/3"))


def rest(**keys: object) -> Snapshot:
    return Snapshot({name: Stored(value, expires=False) for name, value in keys.items()})


def leave_behind(**keys: object) -> Break:
    def leave(history: History) -> None:
        history.at_rest = [rest(**keys)]

    return leave


def unknown_request(history: History) -> None:
    unknown = {"state": "completed", "tenant": "ada", "conv": "", "idem": "", "n": "0"}
    last = {"attempt": "1", "seq": "1"}
    log = [("1-0", {"e": "Q{}"}), ("1-1", {"e": "C{}"})]
    kept = {"req:z": {**unknown, **last}, "log:z": log}
    stored = {name: Stored(value, expires=True) for name, value in kept.items()}
    history.at_rest = [Snapshot(stored)]


BREAKS: list[tuple[str, Break]] = [
    ("I1", lambda h: h.finals.pop("a")),
    ("I1", unfinished),
    ("I2", two_ends),
    ("I2", cancelled_and_goes_on),
    ("I2", lambda h: h.finals["a"].stored.update(state="running")),
    ("I3", lambda h: change_log(h, lambda log: log.pop(5))),
    ("I3", lambda h: change_log(h, lambda log: log.pop(0))),
    ("I3", lambda h: change_log(h, lambda log: log.pop(3))),
    ("I3", lambda h: set_entry(h, 3, opener(30, "reset", "20-9", 2))),
    ("I3", lambda h: set_entry(h, 3, opener(30, "reset", "20-1", 3))),
    ("I3", lambda h: set_entry(h, 3, opener(19, "reset", "20-1", 2))),
    ("I4", zombie),
    ("I4", foreign),
    ("I4", of_an_earlier_call),
    ("I4", doubled_word),
    ("I4", lambda h: set_entry(h, 5, delta(30, 2, "no word"))),
    ("I4", repeats_another_text),
    ("I5", drop_event),
    ("I5", repeat_event),
    ("I5", miss_the_end),
    ("I5", other_text),
    ("I5", unknown_id),
    ("I5", wrong_snapshot),
    ("I5", gone_notice),
    ("I5", turns_interleaved),
    ("I5", turn_not_seen),
    ("I6", lambda h: h.finals["a"].view.update(text="another")),
    ("I6", lambda h: set_entry(h, -1, completed(30, 4, "another"))),
    ("I7", doubled_word),
    ("I7", lambda h: h.accepted.__setitem__(0, replace(h.accepted[0], words=WORDS + 1))),
    ("I8", doubled_request),
    ("I8", doubled_answer),
    ("I9", upstream_left_late),
    ("I9", upstream_never_left),
    ("I9", completed_after_cancel),
    ("I9", cancelled_and_goes_on),
    ("I10", leave_behind(ring=["ada"])),
    ("I10", leave_behind(**{"wait:ada": ["a"]})),
    ("I10", leave_behind(running=[("a", 1)])),
    ("I10", leave_behind(**{"tenant:ada": {"a"}})),
    ("I10", leave_behind(**{"index:ada": [("a", 1)]})),
    ("I11", failed("interrupted")),
    ("I11", failed("poison")),
    ("I11", failed("internal")),
    ("I11", failed("upstream_truncated")),
    ("I11", failed_function(is_kept=True)),
    ("I12", other_tenants),
    ("I13", lambda h: h.refusals.append(Refusal("ada", "key-4", 429, None))),
    ("I13", lambda h: h.refusals.append(Refusal("ada", "key-4", 500, "1"))),
    ("I13", unknown_request),
    ("I16", overlapping_turns),
    ("I17", unnoted_usage),
    ("I17", usage_of_no_attempt),
    ("I18", lambda h: h.calls.__setitem__(2, replace(h.calls[2], memory=()))),
    ("I18", lambda h: h.calls.__setitem__(2, replace(h.calls[2], memory=((TAG, "other"),)))),
    ("I18", lambda h: h.calls.__setitem__(1, replace(h.calls[1], memory=((TAG, "own"),)))),
    ("I19", lambda h: h.missed.append(Missed("a", "a cancel"))),
    ("I20", lambda h: h.drained.append(Drained("/chat", 90.0, 95.0, "1"))),
    ("I20", lambda h: h.drained.append(Drained("/chat", 90.0, 95.0, None))),
    ("I21", note_again("paid")),
    ("I21", note_again("begun", ONCE)),
    ("I21", lambda h: h.steps.pop(2)),
    ("I22", lambda h: setattr(h, "handed", replace(handed(h), types={"a": "response.completed"}))),
    ("I22", lambda h: setattr(h, "handed", replace(handed(h), rows=handed(h).rows[:1]))),
    ("I22", lambda h: setattr(h, "handed", replace(handed(h), rows=handed(h).rows * 2))),
    ("nothing", lambda h: h.odd.append("a worker complained")),
]


@pytest.mark.parametrize(("name", "break_it"), BREAKS)
def test_the_checker_finds_a_broken_invariant(history: History, name: str, break_it: Break) -> None:
    break_it(history)
    assert name in {found.partition(" ")[0] for found in violations(history)}


def test_every_invariant_has_a_history_that_breaks_it() -> None:
    broken = {name for name, _ in BREAKS}
    assert broken == {name.partition(" ")[0] for name in INVARIANTS}


def test_events_from_before_a_rewind_are_ignored(history: History) -> None:
    reader = history.subscribers[0]
    lost = Event("20-7", "delta", {"text": word(7)})
    reader.events = [*reader.events[:3], lost, Event(None, "rewind", {}), *reader.events]
    assert violations(history) == {}


def test_a_conversation_is_read_from_the_start_after_a_rewind(history: History) -> None:
    reader = history.subscribers[1]
    reader.events = [*reader.events[:5], Event(None, "rewind", {}), *reader.events]
    assert violations(history) == {}


def test_a_reader_without_a_terminal_may_lack_the_end(history: History) -> None:
    history.subscribers[0].has_ended = False
    miss_the_end(history)
    assert violations(history) == {}


def test_a_reader_may_begin_with_a_snapshot(history: History) -> None:
    cursor = str(history.finals["a"].entries[4].cursor)
    events = history.subscribers[0].events
    events[:5] = [Event(cursor, "snapshot", {"text": word(0, call=2)})]
    assert violations(history) == {}


def test_a_worker_under_a_fault_may_close_its_upstream_later(history: History) -> None:
    upstream_left_late(history)
    history.troubles = [Trouble("pause", 99.0, 101.5), Trouble("pause", 101.0, 103.0)]
    assert violations(history) == {}


def test_a_function_whose_tool_may_have_run_may_fail(history: History) -> None:
    failed_function(is_kept=False)(history)
    assert "I11" not in {found.partition(" ")[0] for found in violations(history)}


def test_a_stopping_api_may_refuse_a_call_that_waited_for_redis(history: History) -> None:
    history.drained = [Drained("/chat", 90.0, 95.0, "1")]
    history.troubles = [Trouble("redis killed", 91.0, 96.0)]
    assert violations(history) == {}


@pytest.mark.parametrize(
    ("code", "policy", "crashes", "calls"),
    [
        ("interrupted", "fail", 1, 1),
        ("poison", "restart", 3, 1),
        ("upstream_stalled", "restart", 0, 3),
    ],
)
def test_failures_that_the_plan_requested_are_not_violations(
    history: History, code: str, policy: str, crashes: int, calls: int
) -> None:
    failed(code)(history)
    history.accepted[0] = replace(history.accepted[0], policy=policy)
    history.finals["a"].stored["crashes"] = str(crashes)
    history.calls += [Call(TAG, 3 + n, 93.0, 0, "cut") for n in range(calls)]
    assert "I11" not in {found.partition(" ")[0] for found in violations(history)}


@pytest.mark.parametrize("text", ["x", word(0) + "x", "x " + word(0), word(0) + " "])
def test_a_text_with_foreign_words_is_found(text: str) -> None:
    assert words_of(text) is None
