"""Which messages of a conversation an upstream gets."""

from typing import Any

import msgspec
import pytest

from tickertape.worker.prompt import Bounds, build

QUESTION = {"role": "user", "content": "now?"}
TEMPLATE = {"role": "system", "content": "Be brief."}
PAYLOAD: dict[str, Any] = {"messages": [QUESTION], "params": {}}
ROOM = Bounds(memory_bytes=1_000_000, context_tokens=1_000_000)


def turns(count: int) -> list[list[dict[str, Any]]]:
    """All of the same size."""
    return [
        [
            {"role": "user", "content": f"q{n:03}"},
            {"role": "assistant", "content": f"a{n:03}"},
        ]
        for n in range(count)
    ]


def bounds(context_tokens: int) -> Bounds:
    """Those of a model whose context is known."""
    return ROOM.known(context_tokens)


def contents(body: dict[str, Any]) -> list[str]:
    return [message["content"] for message in body["messages"]]


def size(*messages: dict[str, Any]) -> int:
    return sum(len(msgspec.json.encode(message)) for message in messages)


def flat(memory: list[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    return [message for exchange in memory for message in exchange]


def test_memory_stands_between_the_template_and_the_new_messages() -> None:
    payload = {**PAYLOAD, "role_messages": [TEMPLATE], "params": {"model": "m", "top_p": 1}}
    body = build(payload, turns(1), ROOM)
    assert contents(body) == ["Be brief.", "q000", "a000", "now?"]
    assert (body["model"], body["top_p"]) == ("m", 1)


def test_a_payload_without_params_and_template_is_enough() -> None:
    assert build({"messages": [QUESTION]}, [], bounds(100)) == {"messages": [QUESTION]}


def test_a_model_with_the_room_gets_400_short_turns() -> None:
    body = build(PAYLOAD, turns(400), ROOM)
    assert contents(body) == [*(m["content"] for m in flat(turns(400))), "now?"]


def test_a_memory_that_fits_is_sent_whole() -> None:
    memory = turns(3)
    needed = size(*flat(memory), QUESTION)
    payload = {**PAYLOAD, "params": {"max_tokens": 10}}
    assert contents(build(payload, memory, bounds(-(-needed // 3) + 10)))[0] == "q000"


def test_beyond_the_context_the_oldest_turns_are_left_out_first() -> None:
    memory = turns(3)
    # One byte less than all of it needs.
    needed = size(*flat(memory), QUESTION) - 1
    payload = {**PAYLOAD, "params": {"max_tokens": 10}}
    body = build(payload, memory, bounds(needed // 3 + 10))
    assert contents(body) == ["q001", "a001", "q002", "a002", "now?"]


def test_beyond_the_bytes_of_the_setting_the_oldest_turns_are_left_out_first() -> None:
    memory = turns(3)
    exact = Bounds(size(*flat(memory)[2:]), 1_000_000)
    assert contents(build(PAYLOAD, memory, exact)) == ["q001", "a001", "q002", "a002", "now?"]
    less = Bounds(size(*flat(memory)[2:]) - 1, 1_000_000)
    assert contents(build(PAYLOAD, memory, less)) == ["q002", "a002", "now?"]
    assert contents(build(PAYLOAD, memory, Bounds(0, 1_000_000))) == ["now?"]


def test_a_turn_is_sent_whole_or_not_at_all() -> None:
    long: list[dict[str, Any]] = [
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "a"}]},
        {"role": "tool", "tool_call_id": "a", "content": "x" * 300},
        {"role": "assistant", "content": "a"},
    ]
    room = size(*long[1:], *turns(1)[0], QUESTION)
    payload = {**PAYLOAD, "params": {"max_tokens": 10}}
    body = build(payload, [long, *turns(1)], bounds(-(-room // 3) + 10))
    assert contents(body) == ["q000", "a000", "now?"]


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_the_longer_the_answer_may_be_the_less_is_remembered(name: str) -> None:
    def remembered(max_tokens: int) -> int:
        payload = {**PAYLOAD, "params": {name: max_tokens}}
        return len(build(payload, turns(20), bounds(300))["messages"]) - 1

    counts = [remembered(max_tokens) for max_tokens in (10, 100, 200, 290)]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > counts[-1] == 0


@pytest.mark.parametrize("params", [{}, {"max_tokens": -1}, {"max_tokens": None}])
def test_without_a_limit_a_quarter_of_the_context_is_kept_for_the_answer(
    params: dict[str, Any],
) -> None:
    unlimited = build({**PAYLOAD, "params": params}, turns(20), bounds(400))
    limited = build({**PAYLOAD, "params": {"max_tokens": 100}}, turns(20), bounds(400))
    assert unlimited["messages"] == limited["messages"]
    assert 1 < len(unlimited["messages"]) < 41


def test_a_limit_as_long_as_a_context_that_is_only_assumed_leaves_room_for_memory() -> None:
    payload = {**PAYLOAD, "params": {"max_tokens": 4000}}
    assert len(build(payload, turns(20), Bounds(1_000_000, 4000))["messages"]) == 41
    assert len(build(payload, turns(20), bounds(4000))["messages"]) == 1


def test_a_picture_of_the_last_turn_is_sent_though_its_bytes_exceed_the_context() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 500_000}}
    question = {"role": "user", "content": [{"type": "text", "text": "What is it?"}, picture]}
    exchange: list[dict[str, Any]] = [question, {"role": "assistant", "content": "A fox."}]
    assert build(PAYLOAD, [exchange], bounds(8000))["messages"] == [*exchange, QUESTION]
    many = [exchange] * 5
    room = Bounds(10_000_000, 1).known(8000)
    assert len(build(PAYLOAD, many, room)["messages"]) == 7
    assert len(build(PAYLOAD, many, Bounds(600_000, 100_000))["messages"]) == 3


def test_template_and_new_messages_are_never_cut() -> None:
    long = {"role": "user", "content": "x" * 10_000}
    payload = {"messages": [long], "role_messages": [TEMPLATE], "params": {}}
    assert build(payload, turns(3), bounds(100))["messages"] == [TEMPLATE, long]


@pytest.mark.parametrize("part", ["text", 5, None, ["text"]])
def test_a_malformed_part_is_left_for_the_upstream_to_refuse(part: Any) -> None:
    odd = {"role": "user", "content": [part]}
    assert build({"messages": [odd], "params": {}}, turns(1), ROOM)["messages"][-1] == odd


def test_a_parameter_with_the_name_of_a_stored_part_is_not_taken_for_the_part() -> None:
    params = {"openai_params": {"n": 128}, "cache_key": "of another tenant", "n": 1}
    body = build({"params": params, "messages": []}, [], bounds(1000))
    assert body == {"n": 1, "messages": []}
