"""The actions of a terminal for the events of a request, by the rule for all clients."""

import hashlib
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import sse
from tickertape.cli.chat.actions import Action, Clear, End, Fold, Note, Progress, Reasoning, Text
from tickertape.client import Event


def fold(*events: tuple[str, dict[str, Any]], is_whole: bool = True) -> list[Action]:
    folding = Fold(is_whole=is_whole)
    return [action for kind, data in events for action in folding.apply(Event(kind, data))]


def visible(actions: list[Action]) -> list[Action]:
    return [action for action in actions if not isinstance(action, Progress)]


def typed(actions: list[Action]) -> str:
    """What is left on the screen after these actions."""
    text = ""
    for action in actions:
        match action:
            case Text(more):
                text += more
            case Clear():
                text = ""
    return text


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def test_deltas_become_text_and_the_terminal_becomes_an_end() -> None:
    actions = fold(
        ("queued", {}),
        ("started", {"n": 1, "model": "m"}),
        ("delta", {"text": "Hello"}),
        ("delta", {"text": ", world"}),
        ("completed", {"finish_reason": "stop", "sha256": sha256("Hello, world")}),
    )
    assert visible(actions) == [Text("Hello"), Text(", world"), End("completed")]


def test_a_start_without_output_before_it_clears_nothing() -> None:
    assert visible(fold(("started", {"n": 1}), ("started", {"n": 2}))) == []


@pytest.mark.parametrize("kind", ["reset", "rewind", "started"])
def test_an_answer_that_starts_over_clears_the_text(kind: str) -> None:
    actions = fold(("delta", {"text": "old"}), (kind, {"reason": "worker_lost"}))
    assert visible(actions) == [Text("old"), Clear("worker_lost")]


def test_a_resumed_answer_continues_after_its_text() -> None:
    actions = fold(
        ("delta", {"text": "one "}),
        ("resumed", {"n": 2}),
        ("delta", {"text": "two"}),
        ("completed", {"sha256": sha256("one two")}),
    )
    assert visible(actions) == [Text("one "), Text("two"), End("completed")]


def test_the_checksum_covers_only_the_text_since_the_last_reset() -> None:
    actions = fold(
        ("delta", {"text": "void"}),
        ("reset", {"reason": "upstream_truncated"}),
        ("delta", {"text": "valid"}),
        ("completed", {"sha256": sha256("valid")}),
    )
    assert actions[-1] == End("completed")


def test_a_text_that_does_not_match_its_checksum_is_reported() -> None:
    (*_, end) = fold(("delta", {"text": "wrong"}), ("completed", {"sha256": sha256("right")}))
    assert isinstance(end, End)
    assert end.problem is not None


def test_a_reading_that_began_in_the_middle_cannot_check_the_whole() -> None:
    actions = fold(
        ("delta", {"text": "rest"}),
        ("completed", {"sha256": sha256("all the rest")}),
        is_whole=False,
    )
    assert actions[-1] == End("completed")


def test_a_reset_clears_output_even_if_the_reading_began_in_the_middle() -> None:
    assert visible(fold(("reset", {"reason": "worker_lost"}), is_whole=False)) == [
        Clear("worker_lost")
    ]


def test_a_start_after_a_reading_from_the_middle_clears_nothing() -> None:
    assert visible(fold(("started", {"n": 1}), is_whole=False)) == []


def test_a_snapshot_sets_the_text() -> None:
    actions = fold(
        ("delta", {"text": "old"}),
        ("snapshot", {"text": "new", "reasoning": "hm"}),
        ("delta", {"text": "er"}),
        ("completed", {"sha256": sha256("newer")}),
    )
    assert typed(actions) == "newer"
    assert Reasoning("hm") in actions
    assert actions[-1] == End("completed")


def test_a_refusal_is_printed_and_not_part_of_the_checksum() -> None:
    actions = fold(("refusal", {"text": "I won't."}), ("completed", {"sha256": sha256("")}))
    assert visible(actions) == [Text("I won't."), End("completed")]


CALL = ("tool_call", {"index": 1, "name": "look_up", "arguments": "{}"})
DONE = ("completed", {"finish_reason": "stop"})


@pytest.mark.parametrize("first", [CALL, ("snapshot", {"tool_calls": [CALL[1]]})])
def test_calls_for_the_client_are_mentioned_once_and_at_the_end(
    first: tuple[str, dict[str, Any]],
) -> None:
    actions = fold(first, ("tool_call", {"index": 1, "arguments": "}"}), DONE)
    assert [type(action) for action in visible(actions)] == [Note, End]


@pytest.mark.parametrize(
    ("result", "shown"),
    [
        ({"result": "on its way"}, "look_up: on its way"),
        ({"result": {"n": [1, None]}}, 'look_up: {"n":[1,null]}'),
        ({"result": "no\nsuch\x1b[2J", "is_error": True}, "look_up failed: no such␛[2J"),
        ({"result": "x" * 500}, f"look_up: {'x' * 190}…"),
    ],
)
def test_a_tool_that_a_function_ran_is_shown_with_its_result_on_one_line(
    result: dict[str, Any], shown: str
) -> None:
    returned = {"index": 1, **result}
    snapshot = {"tool_calls": [CALL[1]], "tool_results": [returned]}
    for events in ([CALL, ("tool_result", returned)], [("snapshot", snapshot)]):
        assert visible(fold(*events, DONE)) == [Note(shown), End("completed")]


def test_data_is_shown_as_it_comes_and_data_that_may_be_replaced_at_the_end() -> None:
    actions = fold(
        ("data", {"name": "state", "id": "s", "value": 1}),
        ("data", {"name": "row", "value": {"a": "b"}}),
        ("data", {"name": "state", "id": "s", "value": 2}),
        DONE,
    )
    assert actions == [Note('data row: {"a":"b"}'), Note("data state: 2"), End("completed")]


def test_an_answer_that_starts_over_forgets_its_tools_and_its_data() -> None:
    actions = fold(CALL, ("data", {"name": "s", "id": "s", "value": 1}), ("reset", {}), DONE)
    assert visible(actions) == [Clear("a new attempt"), End("completed")]


def test_a_failure_shows_its_message_and_code() -> None:
    (end,) = fold(("failed", {"code": "deadline", "message": "It took too long."}))
    assert end == End("failed", "It took too long. (deadline)")


@pytest.mark.parametrize("reason", ["length", "content_filter", "a new word"])
def test_an_answer_that_was_cut_short_is_reported_with_the_reason(reason: str) -> None:
    note, end = fold(("completed", {"finish_reason": reason}))
    assert isinstance(note, Note)
    assert end == End("completed")


def test_a_log_that_expired_ends_the_reading() -> None:
    (end,) = fold(("gone", {}))
    assert isinstance(end, End)
    assert end.state == "gone"
    assert end.problem is not None


def test_the_queue_position_and_a_wait_are_shown() -> None:
    assert fold(("position", {"position": 2}), ("waiting", {"reason": "rate limit"})) == [
        Progress("queued, 2 ahead"),
        Progress("waiting: rate limit"),
    ]


def test_an_unknown_kind_is_ignored() -> None:
    assert fold(("sparkles", {"text": "x"})) == []


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
SOME_EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("delta"), st.fixed_dictionaries({"text": TEXTS})),
        st.tuples(st.just("snapshot"), st.fixed_dictionaries({"text": TEXTS})),
        st.tuples(
            st.sampled_from(["started", "reset", "rewind", "resumed", "queued"]), st.just({})
        ),
    ),
    max_size=20,
)


@given(SOME_EVENTS)
def test_the_final_text_equals_that_of_every_other_client(
    events: list[tuple[str, dict[str, Any]]],
) -> None:
    expected = sse.text_of(sse.Event(None, kind, data) for kind, data in events)
    actions = fold(*events, ("completed", {"sha256": sha256(expected)}))
    assert typed(actions) == expected
    assert actions[-1] == End("completed")


def test_a_queue_without_a_worker_is_reported_with_the_time_since_when() -> None:
    noon = time.mktime((*time.localtime()[:3], 12, 3, 0, 0, 0, -1))
    waiting = ("position", {"position": 1, "no_worker_since": noon})
    assert fold(waiting) == [Progress("no worker has asked for work since 12:03")]
    old = ("position", {"position": 1, "no_worker_since": 86_400 * 2})
    assert isinstance(shown := fold(old)[0], Progress)
    assert "since 1970-01-0" in shown.text
