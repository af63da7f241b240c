"""The values that a body may contain, and how a refusal names the field. No server needed."""

from typing import Any

import pytest

from tickertape.api.edge.field_paths import field_path
from tickertape.api.edge.problems import Problem
from tickertape.api.protocols.checked import check_json
from tickertape.api.protocols.json_body import MAX_DEPTH
from tickertape.api.protocols.native.body import ChatBody


def nested(depth: int) -> Any:
    value: Any = "x"
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    "value",
    [
        {"a": [1, 2.5, None, True, "text"]},
        "emoji 😀, tab \t, newline \n, ideograph 語",
        nested(MAX_DEPTH.get()),
        10**30,
    ],
)
def test_json_that_every_downstream_system_can_store_is_accepted(value: Any) -> None:
    check_json(value)


@pytest.mark.parametrize(
    ("value", "param", "fault"),
    [
        ({"a": "x\0y"}, "a", "NUL"),
        ({"a": [{"b": "\ud83d"}]}, "a[0].b", "surrogate"),
        ({"a": {"k\0": 1}}, "a", "NUL"),
        ({"\udc00": 1}, None, "surrogate"),
        ({"a": float("nan")}, "a", "finite"),
        ({"a": [1.0, float("-inf")]}, "a[1]", "finite"),
        ({"deep": nested(MAX_DEPTH.get())}, "deep", "nested"),
    ],
)
def test_json_that_a_downstream_system_cannot_store_is_refused_by_name(
    value: Any, param: str | None, fault: str
) -> None:
    with pytest.raises(Problem) as refused:
        check_json(value)
    assert refused.value.param == param
    assert fault in refused.value.message
    refused.value.message.encode()


@pytest.mark.parametrize(
    ("steps", "body", "named"),
    [
        (["temperature"], {"temperature": 3}, "temperature"),
        (["messages", 1, "role"], {"messages": [{}, {}]}, "messages[1].role"),
        (["messages", 0, "content", "text"], {"messages": [{"content": 5}]}, "messages[0].content"),
        (
            ["messages", 0, "content", "parts", 0, "text"],
            {"messages": [{"content": [{"text": 1}]}]},
            "messages[0].content[0].text",
        ),
        (["x" * 500], {"x" * 500: 1}, "x" * 200),
    ],
)
def test_a_field_is_named_as_its_caller_wrote_it(
    steps: list[str | int], body: Any, named: str
) -> None:
    assert field_path(steps, body) == named


def test_a_single_message_becomes_a_user_message() -> None:
    body = ChatBody.model_validate({"message": "Why?"})
    assert body.chat_messages() == [{"role": "user", "content": "Why?"}]


def test_messages_are_passed_on_unchanged() -> None:
    sent = [
        {"role": "system", "content": "Be brief."},
        {
            "role": "user",
            "name": "ada",
            "content": [
                {"type": "text", "text": "What is this?"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}},
            ],
        },
        {"role": "assistant", "content": None, "tool_calls": [{"id": "c1", "type": "function"}]},
        {"role": "tool", "content": "42", "tool_call_id": "c1"},
    ]
    assert ChatBody.model_validate({"messages": sent}).chat_messages() == sent
