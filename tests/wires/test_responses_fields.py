"""Which fields of a request for a response reach a chat upstream, and in which form."""

from typing import Any, get_type_hints

import pytest
from openai.types.chat.completion_create_params import CompletionCreateParamsBase
from openai.types.responses.response_create_params import ResponseCreateParamsBase

from tests.wires.relaying import IMAGE, TOOL, Relay


@pytest.mark.parametrize(
    ("kind", "data", "expected"),
    [
        ("csv", "data:text/csv;base64,YSxi", {"type": "text", "text": "a,b"}),
        (
            "wav",
            "data:audio/wav;base64,AAAA",
            {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
        ),
        ("png", IMAGE, {"type": "image_url", "image_url": {"url": IMAGE}}),
        *(
            (kind, data, {"type": "file", "file": {"filename": f"a.{kind}", "file_data": data}})
            for kind, data in (
                ("pdf", "data:application/pdf;base64,AAAA"),
                ("docx", "data:application/x-word;base64,AAAA"),
                ("raw", "AAAA"),
            )
        ),
    ],
)
async def test_a_file_is_sent_in_the_form_of_its_type(
    relay: Relay, kind: str, data: str, expected: dict[str, Any]
) -> None:
    part = {"type": "input_file", "filename": f"a.{kind}", "file_data": data}
    message_in = {"role": "user", "content": [{"type": "input_text", "text": "?"}, part]}
    [message] = await relay.messages([message_in])
    assert message["content"] == [{"type": "text", "text": "?"}, expected]


# Values of the right types. Every other field gets "x".
GIVEN: dict[str, Any] = {
    "include": ["reasoning.encrypted_content"],
    "instructions": "Be.",
    "metadata": {"a": "b"},
    "parallel_tool_calls": True,
    "store": True,
    "temperature": 1,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [TOOL],
    "top_logprobs": 0,
    "top_p": 1,
    "truncation": "disabled",
    "stream_options": {"include_obfuscation": False},
    "reasoning": {"effort": "low"},
    "max_output_tokens": 9,
    "service_tier": "auto",
    "user": "u",
}
# Fields that are refused by name or set by these tests.
NOT_SENT = {"background", "conversation", "prompt", "previous_response_id", "input", "model"}


async def test_fields_that_only_responses_have_do_not_reach_a_chat_upstream(relay: Relay) -> None:
    known = get_type_hints(ResponseCreateParamsBase).keys()
    # Codex sends a field that the SDK lacks.
    sent = {name: GIVEN.get(name, "x") for name in known - NOT_SENT} | {"client_metadata": {}}
    body = await relay.send("hi", extra_body=sent)
    chat = set(get_type_hints(CompletionCreateParamsBase)) | {"stream"}
    assert body.keys() <= chat
    unasked = {"store", "metadata", "safety_identifier", "prompt_cache_key", "moderation"}
    assert not body.keys() & unasked


async def test_fields_that_only_the_upstream_knows_are_passed_on(relay: Relay) -> None:
    sent = {"top_k": 3, "chat_template_kwargs": {"enable_thinking": False}}
    body = await relay.send("hi", extra_body=sent)
    assert {name: body[name] for name in sent} == sent


async def test_a_function_is_sent_without_fields_unknown_to_chat_completions(relay: Relay) -> None:
    own = {"defer_loading": True, "allowed_callers": ["direct"], "output_schema": {}}
    body = await relay.send("hi", tools=[TOOL | own | {"description": "Looks."}])
    function = {"name": "look", "parameters": {"type": "object"}, "description": "Looks."}
    assert body["tools"] == [{"type": "function", "function": function}]
