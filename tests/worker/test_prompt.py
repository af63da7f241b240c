"""What of a conversation an upstream is told."""

from typing import Any

import msgspec
import pytest

from worker.prompt import MAX_MEMORY_MESSAGES, build

QUESTION = {"role": "user", "content": "now?"}
TEMPLATE = {"role": "system", "content": "Be brief."}
PAYLOAD: dict[str, Any] = {"messages": [QUESTION], "params": {}}


def turns(count: int) -> list[dict[str, Any]]:
    """All of the same size."""
    return [
        message
        for n in range(count)
        for message in (
            {"role": "user", "content": f"q{n:03}"},
            {"role": "assistant", "content": f"a{n:03}"},
        )
    ]


def contents(body: dict[str, Any]) -> list[str]:
    return [message["content"] for message in body["messages"]]


def size(*messages: dict[str, Any]) -> int:
    return sum(len(msgspec.json.encode(message)) for message in messages)


def test_memory_stands_between_the_template_and_the_new_messages() -> None:
    payload = {**PAYLOAD, "role_messages": [TEMPLATE], "params": {"model": "m", "top_p": 1}}
    body = build(payload, turns(1), None)
    assert contents(body) == ["Be brief.", "q000", "a000", "now?"]
    assert (body["model"], body["top_p"]) == ("m", 1)


def test_a_payload_without_params_and_template_is_enough() -> None:
    assert build({"messages": [QUESTION]}, [], 100) == {"messages": [QUESTION]}


@pytest.mark.parametrize("context_tokens", [None, 1_000_000])
def test_beyond_the_count_the_oldest_messages_are_left_out_first(
    context_tokens: int | None,
) -> None:
    body = build(PAYLOAD, turns(100), context_tokens)
    assert len(body["messages"]) == MAX_MEMORY_MESSAGES + 1
    assert contents(body)[0] == "q080"
    assert contents(body)[-2:] == ["a099", "now?"]


@pytest.mark.parametrize("context_tokens", [None, 1_000_000])
def test_the_count_leaves_no_answer_without_its_question(context_tokens: int | None) -> None:
    odd = [*turns(1), {"role": "user", "content": "and"}, *turns(MAX_MEMORY_MESSAGES // 2 - 1)]
    body = build(PAYLOAD, odd, context_tokens)
    assert contents(body)[0] == "and"
    assert len(body["messages"]) == MAX_MEMORY_MESSAGES


def test_a_memory_that_fits_is_told_whole() -> None:
    memory = turns(3)
    needed = size(*memory, QUESTION)
    context_tokens = -(-needed // 3) + 10
    payload = {**PAYLOAD, "params": {"max_tokens": 10}}
    assert contents(build(payload, memory, context_tokens))[0] == "q000"


def test_beyond_the_context_the_oldest_turns_are_left_out_first() -> None:
    memory = turns(3)
    # One byte less than all of it needs.
    needed = size(*memory, QUESTION) - 1
    payload = {**PAYLOAD, "params": {"max_tokens": 10}}
    body = build(payload, memory, needed // 3 + 10)
    assert contents(body) == ["q001", "a001", "q002", "a002", "now?"]


def test_the_context_leaves_no_answer_without_its_question() -> None:
    memory = turns(2)
    # Room for three of the four messages: the first of the three is an answer.
    room = size(*memory[1:], QUESTION)
    payload = {**PAYLOAD, "params": {"max_tokens": 10}}
    body = build(payload, memory, -(-room // 3) + 10)
    assert contents(body) == ["q001", "a001", "now?"]


def test_the_longer_the_answer_may_be_the_less_is_remembered() -> None:
    def remembered(max_tokens: int) -> int:
        payload = {**PAYLOAD, "params": {"max_tokens": max_tokens}}
        return len(build(payload, turns(20), 300)["messages"]) - 1

    counts = [remembered(max_tokens) for max_tokens in (10, 100, 200, 290)]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > counts[-1] == 0


def test_without_a_limit_a_quarter_of_the_context_is_kept_for_the_answer() -> None:
    unlimited = build(PAYLOAD, turns(20), 400)
    limited = build({**PAYLOAD, "params": {"max_tokens": 100}}, turns(20), 400)
    assert unlimited["messages"] == limited["messages"]
    assert 1 < len(unlimited["messages"]) < 41


def test_template_and_new_messages_are_never_cut() -> None:
    long = {"role": "user", "content": "x" * 10_000}
    payload = {"messages": [long], "role_messages": [TEMPLATE], "params": {}}
    assert build(payload, turns(3), 100)["messages"] == [TEMPLATE, long]
