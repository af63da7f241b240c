"""Rare kinds of input and of tools, which most callers never use."""

import json
from typing import Any

import pytest

from tests.wires import folding
from tests.wires.recorded import DIALECTS, rendered
from tickertape.api.protocols.ai_sdk.body import UiBody, UiMessage
from tickertape.api.protocols.ai_sdk.body import chat_messages as chat_messages_of_page
from tickertape.api.protocols.openai_responses.body import ResponsesBody
from tickertape.api.protocols.openai_responses.input_items import chat_messages, input_items
from tickertape.broker.codec import Cursor, Entry

CUSTOM: list[Entry] = [
    Entry(
        Cursor(1000, 0),
        "queued",
        data={"v": 1, "echo": {"response": ResponsesBody(input="hi").echoed()}},
    ),
    Entry(Cursor(2000, 0), "started", data={"v": 1, "prev": "1000-0", "n": 1, "model": "m"}),
    Entry(
        Cursor(2000, 1),
        "tool_call",
        data={"index": 0, "id": "c", "type": "custom", "name": "sh", "arguments": "ls "},
    ),
    Entry(Cursor(2000, 2), "tool_call", data={"index": 0, "arguments": "{"}),
    Entry(Cursor(2000, 3), "completed", data={"finish_reason": "tool_calls"}),
]


def test_float_counts_in_a_log_of_an_earlier_version_are_whole_in_a_response() -> None:
    usage = {"prompt_tokens": 3.0, "completion_tokens": 4.4, "prompt_tokens_details": 1.0}
    end = Entry(Cursor(2000, 3), "completed", data={"finish_reason": "stop", "usage": usage})
    usage = events("responses", [*CUSTOM[:2], end])[-1]["response"]["usage"]
    counts = (usage["input_tokens"], usage["output_tokens"], usage["total_tokens"])
    assert json.dumps(counts) == "[3, 4, 7]"


def events(name: str, log: list[Entry]) -> list[Any]:
    found = folding.events(b"".join(rendered(DIALECTS[name], log).frames))
    return [json.loads(event) for event in found if event != b"[DONE]"]


def test_a_custom_tools_input_is_text_and_never_parsed() -> None:
    chunks = events("chat_completions", CUSTOM)
    pieces = [call for c in chunks for call in c["choices"][0]["delta"].get("tool_calls", ())]
    assert pieces == [
        {"index": 0, "id": "c", "type": "custom", "custom": {"name": "sh", "input": "ls "}},
        {"index": 0, "custom": {"input": "{"}},
    ]
    available = [e for e in events("ui_message", CUSTOM) if e["type"] == "tool-input-available"]
    call_fields = {"toolCallId": "c", "toolName": "sh", "input": "ls {"}
    custom = {"tickertape": {"type": "custom"}}
    assert available == [
        {"type": "tool-input-available", **call_fields, "providerMetadata": custom}
    ]
    part = {"type": "tool-sh", **call_fields, "state": "output-available", "output": "x"}
    page = [UiMessage(role="assistant", parts=[{**part, "callProviderMetadata": custom}])]
    called, _ = chat_messages_of_page(page)
    assert called["tool_calls"] == [
        {"id": "c", "type": "custom", "custom": {"name": "sh", "input": "ls {"}}
    ]


@pytest.mark.parametrize(
    ("given", "arguments"),
    [
        ({"input": None, "rawInput": '{"at": '}, r'{"input":"{\"at\": "}'),
        ({"input": None, "rawInput": {"at": "x"}}, '{"at":"x"}'),
        ({"rawInput": {"at": "x"}}, '{"at":"x"}'),
        ({"input": {}, "rawInput": {"at": "x"}}, "{}"),
        ({"input": 0, "rawInput": {"at": "x"}}, '{"input":"0"}'),
        ({"input": None}, "{}"),
        ({}, "{}"),
    ],
)
def test_a_call_that_failed_on_a_page_keeps_its_raw_input_beside_a_null_input(
    given: dict[str, Any], arguments: str
) -> None:
    part = {"type": "tool-look", "toolCallId": "t", "state": "output-error", "errorText": "no"}
    page = [UiMessage(role="assistant", parts=[part | given])]
    called = chat_messages_of_page(page)[0]["tool_calls"]
    assert [call["function"] for call in called] == [{"name": "look", "arguments": arguments}]


@pytest.mark.parametrize("name", ["chat_completions", "responses", "ui_message"])
def test_a_gone_notice_is_an_error_and_other_notices_make_no_frame(name: str) -> None:
    rendering = rendered(DIALECTS[name], CUSTOM[:2])
    for kind in ("position", "waiting", "rewind"):
        assert rendering.wire.notice(kind, {"x": 1}) == b""
    gone = rendering.wire.notice("gone", {})
    assert gone == rendering.wire.notice("gone", {})
    heard = {
        "chat_completions": folding.chat_completions,
        "responses": folding.responses,
        "ui_message": folding.ui_message,
    }[name](b"".join(rendering.frames) + gone)
    assert heard.is_error


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (
            {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]},
            {"role": "assistant", "content": "No."},
        ),
        (
            {"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "x"}}]},
            {"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "x"}}]},
        ),
        (
            {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
                ],
            },
        ),
        (
            {
                "type": "function_call_output",
                "call_id": "c",
                "output": [{"type": "input_text", "text": "3"}],
            },
            {"role": "tool", "tool_call_id": "c", "content": "3"},
        ),
    ],
)
def test_an_item_becomes_a_message(item: dict[str, Any], message: dict[str, Any]) -> None:
    assert chat_messages(input_items([item])) == [message]


def test_an_answer_of_several_parts_is_one_text() -> None:
    parts = [{"type": "output_text", "text": "Yes. "}, {"type": "refusal", "refusal": "But no."}]
    assert chat_messages([{"type": "message", "role": "assistant", "content": parts}]) == [
        {"role": "assistant", "content": "Yes. But no."}
    ]


def test_response_formats_are_translated_into_those_of_chat_completions() -> None:
    body = ResponsesBody(
        input="hi",
        text={"format": {"type": "json_object"}, "verbosity": "low"},
        tools=[{"type": "function", "name": "f", "strict": None}],
        tool_choice="required",
        parallel_tool_calls=False,
    )
    assert body.params() == {
        "response_format": {"type": "json_object"},
        "verbosity": "low",
        "tools": [{"type": "function", "function": {"name": "f"}}],
        "tool_choice": "required",
        "parallel_tool_calls": False,
    }


def test_a_pages_system_message_and_a_denied_call_reach_the_model() -> None:
    denied = {
        "type": "tool-rm",
        "toolCallId": "t",
        "state": "output-denied",
        "input": {"path": "/"},
    }
    messages = [
        UiMessage(role="system", parts=[{"type": "text", "text": "Be brief."}]),
        UiMessage(role="assistant", parts=[denied, {"type": "step-start"}]),
    ]
    system, called, outcome = chat_messages_of_page(messages)
    assert system == {"role": "system", "content": "Be brief."}
    assert called["tool_calls"][0]["function"] == {"name": "rm", "arguments": '{"path":"/"}'}
    assert outcome["role"] == "tool"
    assert "not allow" in outcome["content"]


@pytest.mark.parametrize("odd", [5, ["a"], {"a": 1}, True])
def test_returned_provider_fields_of_a_wrong_type_do_not_replace_known_fields(odd: Any) -> None:
    x = {"reasoning_content": odd, "reasoning": odd, "tool_calls": odd, "signature": "s"}
    answer = {"role": "assistant", "content": "a", "signature": "s"}
    item = {"type": "message", "role": "assistant", "content": "a", "x": x}
    assert chat_messages(input_items([item])) == [answer]
    part = {"type": "text", "text": "a", "providerMetadata": {"tickertape": x}}
    message = UiMessage(role="assistant", parts=[part])
    assert chat_messages_of_page([message]) == [answer]


@pytest.mark.parametrize("odd", [5, ["a"], {"a": 1}, None])
def test_a_tool_state_of_a_wrong_type_is_not_an_outcome(odd: Any) -> None:
    parts = [
        {"type": "text", "text": "a"},
        {"type": "tool-f", "toolCallId": "t", "state": odd, "output": 1},
    ]
    body = UiBody.model_validate({"id": "c", "messages": [{"role": "assistant", "parts": parts}]})
    assert body.chat_messages() == [{"role": "assistant", "content": "a"}]
