"""The finish reason on every wire: in the wire's words, and never a false claim of completeness."""

import json
from typing import Any

import pytest

from tests.wires import folding
from tests.wires.recorded import DIALECTS, REQUEST_ID, rendered, response_object
from tickertape.api.protocols.openai_chat import wire as chat_completions
from tickertape.broker.codec import Cursor, Entry


def log(finish_reason: str | None) -> list[Entry]:
    return [
        Entry(Cursor(1000, 0), "queued", data={"model": "m"}),
        Entry(Cursor(2000, 0), "started", data={"n": 1}),
        Entry(Cursor(2000, 1), "delta", text="half"),
        Entry(Cursor(2000, 2), "completed", data={"finish_reason": finish_reason}),
    ]


def events(name: str, finish_reason: str | None) -> list[Any]:
    stream = b"".join(rendered(DIALECTS[name], log(finish_reason)).frames)
    return [json.loads(data) for data in folding.events(stream) if data != b"[DONE]"]


@pytest.mark.parametrize(
    ("reason", "chat", "ai_sdk", "response"),
    [
        ("stop", "stop", "stop", ("completed", None)),
        (None, "stop", "stop", ("completed", None)),
        ("tool_calls", "tool_calls", "tool-calls", ("completed", None)),
        ("length", "length", "length", ("incomplete", "max_output_tokens")),
        ("content_filter", "content_filter", "content-filter", ("incomplete", "content_filter")),
        ("a new word", "a new word", "other", ("incomplete", "a new word")),
    ],
)
def test_an_unknown_finish_reason_is_never_reported_as_stop(
    reason: str | None, chat: str, ai_sdk: str, response: tuple[str, str | None]
) -> None:
    native = b"".join(rendered(DIALECTS["native"], log(reason)).frames)
    assert native.endswith(b'data: {"finish_reason":%b}\n\n' % json.dumps(reason).encode())
    assert events("chat_completions", reason)[-1]["choices"][0]["finish_reason"] == chat
    whole = chat_completions.completion(REQUEST_ID, log(reason))
    assert whole["choices"][0]["finish_reason"] == chat
    assert events("ui_message", reason)[-1] == {"type": "finish", "finishReason": ai_sdk}
    last = events("responses", reason)[-1]
    assert last["type"] == f"response.{response[0]}"
    for response_of_wire in (last["response"], response_object(log(reason))):
        details = response_of_wire["incomplete_details"]
        assert (response_of_wire["status"], details and details["reason"]) == response
