"""What a model is given of a conversation's turns."""

from dataclasses import replace
from typing import Any

import pytest

from tickertape.broker.branches import drop_replaced
from tickertape.broker.codec import Cursor
from tickertape.broker.kinds import Terminal
from tickertape.broker.turns import STOPPED, Links, Turn, remember

Message = dict[str, Any]


def user(text: str) -> Message:
    return {"role": "user", "content": text}


def said(text: str | None, *calls: Message) -> Message:
    return {"role": "assistant", "content": text, **({"tool_calls": [*calls]} if calls else {})}


def called(call_id: str) -> Message:
    return {"id": call_id, "type": "function", "function": {"name": "look", "arguments": "{}"}}


def call(call_id: str, index: int = 0) -> Message:
    return {"index": index, "id": call_id, "name": "look", "arguments": "{}"}


def outcome(call_id: str) -> Message:
    return {"role": "tool", "tool_call_id": call_id, "content": "seen"}


def done(number: int, text: str | None, *calls: Message, asked: Any = None) -> Turn:
    question = [user(str(number))] if asked is None else asked
    return Turn(f"r{number}", question, text, "completed", [*calls])


def test_the_turns_that_were_asked_before_a_request_are_remembered_and_no_others() -> None:
    turns = [
        done(1, "one"),
        Turn("r2", [user("2")]),
        done(3, "three"),
        Turn("r4", [user("4")]),
        done(5, "five"),
    ]
    one, three = [user("1"), said("one")], [user("3"), said("three")]
    assert remember(turns, "r4") == [one, three]
    assert remember(turns, "r1") == []
    assert remember(turns, "forgotten") == [one, three, [user("5"), said("five")]]


@pytest.mark.parametrize("status", ["completed", "failed"])
def test_a_turn_without_words_is_left_out_with_its_question(status: Terminal) -> None:
    turns = [done(1, "one"), Turn("r2", [user("2")], "", status), Turn("r3", [user("3")])]
    assert remember(turns, "r3") == [[user("1"), said("one")]]


def test_a_failed_answer_is_remembered_as_far_as_it_was_said() -> None:
    turns = [Turn("r1", [user("1")], "half", "failed"), Turn("r2", [user("2")])]
    assert remember(turns, "r2") == [[user("1"), said("half")]]


@pytest.mark.parametrize(("text", "content"), [("cows", f"cows\n\n{STOPPED}"), ("", STOPPED)])
def test_after_a_stop_the_question_and_the_text_so_far_are_remembered(
    text: str, content: str
) -> None:
    # vscode#289186: the model forgot what was asked before the stop.
    turns = [Turn("r1", [user("1")], text, "cancelled"), Turn("r2", [user("2")])]
    assert remember(turns, "r2") == [[user("1"), said(content)]]


def test_tool_calls_are_remembered_together_with_their_outcomes() -> None:
    turns = [
        done(1, "Let me look.", call("a"), call("b", 1)),
        done(2, "Rain.", asked=[outcome("a"), outcome("b")]),
        Turn("r3", [user("3")]),
    ]
    assert remember(turns, "r3") == [
        [
            user("1"),
            said("Let me look.", called("a"), called("b")),
            outcome("a"),
            outcome("b"),
            said("Rain."),
        ]
    ]


def test_calls_are_given_to_the_request_that_brings_their_outcomes() -> None:
    turns = [done(1, "", call("a")), Turn("r2", [outcome("a"), user("2")])]
    assert remember(turns, "r2") == [[user("1"), said(None, called("a"))]]


def test_a_call_without_an_outcome_is_left_out_and_so_is_a_turn_of_such_calls_alone() -> None:
    turns = [
        done(1, "", call("a")),
        done(2, "Hm.", call("b")),
        done(3, "", call("c"), call("d", 1)),
        done(4, "Rain.", asked=[outcome("d"), outcome("x")]),
        Turn("r5", [user("5")]),
    ]
    assert remember(turns, "r5") == [
        [user("2"), said("Hm.")],
        [user("3"), said(None, called("d")), outcome("d"), said("Rain.")],
    ]


def test_outcomes_that_were_sent_again_after_a_failure_still_find_their_calls() -> None:
    turns = [
        done(1, "", call("a")),
        Turn("r2", [outcome("a")]),
        Turn("r3", [outcome("a")]),
    ]
    assert remember(turns, "r3") == [[user("1"), said(None, called("a"))]]


def test_a_call_of_a_custom_tool_keeps_its_form() -> None:
    turns = [done(1, "", call("a") | {"type": "custom"}), Turn("r2", [outcome("a")])]
    [[_, answer]] = remember(turns, "r2")
    assert answer["tool_calls"] == [
        {"id": "a", "type": "custom", "custom": {"name": "look", "input": "{}"}}
    ]


def test_provider_fields_of_a_call_go_back_with_it() -> None:
    # openai-agents-python#4506: Gemini refuses a call without its thought signature.
    signed = {"extra_content": {"google": {"thought_signature": "s"}}}
    turns = [done(1, "", call("a") | {"x": signed}), Turn("r2", [outcome("a")])]
    [[_, answer]] = remember(turns, "r2")
    assert answer["tool_calls"] == [called("a") | signed]


def test_the_reasoning_goes_back_with_the_calls_that_it_led_to_and_with_nothing_else() -> None:
    # openai-agents-js#791: DeepSeek refuses a call without the reasoning before it.
    first = replace(done(1, "Hm.", call("a")), reasoning="Two sums.")
    turns = [first, Turn("r2", [outcome("a")]), Turn("r3", [user("3")])]
    [[_, answer]] = remember(turns, "r2")
    assert answer == said("Hm.", called("a")) | {"reasoning_content": "Two sums."}
    assert remember(turns, "r3") == [[user("1"), said("Hm.")]]


def at(turn: Turn, row: int, replaces: int | None = None) -> Turn:
    links = Links(replaces=None if replaces is None else Cursor(replaces, 0))
    return Turn(
        turn.request_id, turn.asked, turn.answered, turn.status, links=links, row=Cursor(row, 0)
    )


def test_a_turn_takes_the_place_of_an_earlier_one_and_of_all_after_it() -> None:
    turns = [at(done(1, "one"), 1), at(done(2, "two"), 2), at(done(3, "three"), 3)]
    edited = [*turns, at(done(4, "four"), 4, replaces=2), at(done(5, "five"), 5)]
    assert [turn.request_id for turn in drop_replaced(edited)] == ["r1", "r4", "r5"]
    assert [messages[-1]["content"] for messages in remember(edited, "r5")] == ["one", "four"]
    # The one that replaces sees what it replaces no more, and those that ran before it still do.
    assert [messages[-1]["content"] for messages in remember(edited, "r4")] == ["one"]
    assert [messages[-1]["content"] for messages in remember(edited, "r3")] == ["one", "two"]


def test_what_was_replaced_stays_so_when_its_own_row_is_gone() -> None:
    turns = [at(done(1, "one"), 1), at(done(3, "three"), 3), at(done(4, "four"), 4, replaces=2)]
    assert [turn.request_id for turn in drop_replaced(turns)] == ["r1", "r4"]


def test_two_that_take_the_same_place_leave_the_last() -> None:
    turns = [at(done(1, "one"), 1), at(done(2, "two"), 2, 1), at(done(3, "three"), 3, 1)]
    assert [turn.request_id for turn in drop_replaced(turns)] == ["r3"]


@pytest.mark.parametrize(
    "links",
    [
        Links(),
        Links(message_id="é"),
        Links(message_id="m", answer_id="n", replaces=Cursor(12, 3)),
    ],
)
def test_links_are_read_as_they_were_written(links: Links) -> None:
    assert Links.decode(links.encode()) == links
    assert bool(links.encode()) == (links != Links())
