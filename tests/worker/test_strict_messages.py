"""Messages as clients send them back, and as strict upstreams take them."""

import re
from typing import Any

import pytest

from tickertape.worker.upstream.gemini_signatures import with_placeholder_signature
from tickertape.worker.upstream.messages import without_nulls
from tickertape.worker.upstream.mistral_messages import fit_to_mistral, short_id

CALL: dict[str, Any] = {
    "id": "aB3xK9mP2",
    "type": "function",
    "function": {"name": "look", "arguments": "{}"},
}
SIGNED = CALL | {"extra_content": {"google": {"thought_signature": "c2ln"}}}
SKIPPED = {"google": {"thought_signature": "skip_thought_signature_validator"}}


def calling(*calls: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": None, "tool_calls": [*calls], **fields}


def test_nulls_that_openais_python_client_adds_to_an_answer_are_left_out() -> None:
    function = CALL["function"] | {"parsed_arguments": None}
    kept = calling(
        CALL | {"function": function, "custom": None},
        refusal=None,
        annotations=None,
        audio=None,
        function_call=None,
        parsed=None,
    )
    assert without_nulls(kept) == calling(CALL)


def test_calls_whose_client_dropped_the_content_have_a_null_as_content() -> None:
    assert without_nulls({"role": "assistant", "tool_calls": [CALL]}) == calling(CALL)


@pytest.mark.parametrize(
    "message",
    [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": None},
        {"role": "assistant", "content": ""},
        {"role": "assistant"},
        {"role": "assistant", "tool_calls": "none"},
        {"role": "assistant", "tool_calls": [1, None]},
        {"role": "assistant", "content": None, "tool_calls": [{}]},
        {"role": "user", "content": [{"type": "text", "text": "hi", "cache": None}]},
        {"role": "tool", "content": "3", "tool_call_id": 7},
        {"role": "narrator", "content": "Once", "name": "n"},
    ],
)
def test_a_minimal_message_stays_as_it_is(message: dict[str, Any]) -> None:
    assert without_nulls(message) == message
    assert with_placeholder_signature(message) == message or message.get("tool_calls") == [{}]


def test_mistral_is_sent_only_the_fields_that_it_knows() -> None:
    call = SIGNED | {"function": CALL["function"] | {"parsed_arguments": {}}}
    said = calling(call, reasoning_content="Hm.", annotations=[], name="me")
    assert fit_to_mistral(said) == calling(CALL)
    named = {"role": "user", "content": "hi", "name": "me"}
    assert fit_to_mistral(named) == {"role": "user", "content": "hi"}


def test_an_id_that_mistral_refuses_is_the_same_nine_characters_in_call_and_output() -> None:
    call_id = "call_r0_fgqe6lo3h4jsjuauqsfhohxnfu_0"
    (call,) = fit_to_mistral(calling(CALL | {"id": call_id}))["tool_calls"]
    output = fit_to_mistral({"role": "tool", "content": "3", "tool_call_id": call_id})
    assert call["id"] == output["tool_call_id"] == short_id(call_id)
    assert re.fullmatch(r"[a-zA-Z0-9]{9}", call["id"])
    assert short_id(call_id) != short_id(call_id[:-1] + "1")
    assert short_id("aB3xK9mP2") == "aB3xK9mP2"


@pytest.mark.parametrize("message", [calling("odd"), calling({"function": "odd"})])  # type: ignore[arg-type]
def test_malformed_calls_are_left_for_mistral_to_refuse(message: dict[str, Any]) -> None:
    assert fit_to_mistral(message)["role"] == "assistant"


def test_a_call_whose_client_lost_the_signature_has_googles_word_for_that() -> None:
    other = CALL | {"id": "second"}
    assert with_placeholder_signature(calling(CALL, other)) == calling(
        CALL | {"extra_content": SKIPPED}, other
    )
    assert with_placeholder_signature(calling(SIGNED, other)) == calling(SIGNED, other)
