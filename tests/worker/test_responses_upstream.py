"""A chat completion as a background response: its body, and its events."""

import json
from typing import Any

import pytest

from tickertape.worker.upstream.errors import RateLimited, Truncated, UpstreamGarbage
from tickertape.worker.upstream.pieces import Piece
from tickertape.worker.upstream.responses_events import ResponsesReader
from tickertape.worker.upstream.responses_request import can_be_response, response_body
from tickertape.worker.upstream.tally import Tally

USER = {"role": "user", "content": "hi"}
FUNCTION = {"name": "look", "parameters": {"type": "object"}}
TOOL = {"type": "function", "function": FUNCTION}


def body(*messages: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [*messages] or [USER], "stream": True, **fields}


def test_a_conversation_with_pictures_and_tools_is_translated_whole() -> None:
    picture = {"type": "image_url", "image_url": {"url": "https://a.example/p", "detail": "low"}}
    file = {"type": "file", "file": {"file_data": "data:,x", "filename": "x"}}
    call = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    asked = body(
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "see"}, picture, file]},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "a cat"},
        {"role": "assistant", "content": [{"type": "text", "text": "A cat."}]},
    )
    assert can_be_response(asked)
    assert response_body(asked)["input"] == [
        {"role": "system", "content": "Be brief."},
        {
            "role": "user",
            "content": [
                {"type": "input_text", "text": "see"},
                {"type": "input_image", "image_url": "https://a.example/p", "detail": "low"},
                {"type": "input_file", "file_data": "data:,x", "filename": "x"},
            ],
        },
        {"type": "function_call", "call_id": "c1", "name": "look", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "a cat"},
        {"role": "assistant", "content": [{"type": "output_text", "text": "A cat."}]},
    ]


def test_parameters_get_the_names_of_responses() -> None:
    asked = body(
        max_completion_tokens=9,
        temperature=0.5,
        tools=[TOOL],
        tool_choice={"type": "function", "function": {"name": "look"}},
        response_format={"type": "json_schema", "json_schema": {"name": "n", "schema": {}}},
        reasoning_effort="low",
        n=1,
        seed=None,
        stream_options={"include_usage": True},
    )
    assert can_be_response(asked)
    sent = response_body(asked)
    del sent["input"]
    assert sent == {
        "model": "m",
        "temperature": 0.5,
        "max_output_tokens": 9,
        "tools": [{"type": "function", **FUNCTION}],
        "tool_choice": {"type": "function", "name": "look"},
        "text": {"format": {"type": "json_schema", "name": "n", "schema": {}}},
        "reasoning": {"effort": "low"},
        "background": True,
        "store": True,
        "stream": True,
    }


@pytest.mark.parametrize(
    "asked",
    [
        body(n=2),
        body(stop=["x"]),
        body(seed=1),
        body(logprobs=True),
        body(tools=[{"type": "custom", "custom": {"name": "x"}}]),
        body({"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}),
        body({"role": "tool", "tool_call_id": "c", "content": [{"type": "text", "text": "x"}]}),
        body({"role": "function", "name": "look", "content": "x"}),
        body(tools=[{"type": "function"}]),
        body(tools=["look"]),
        body({"role": "user", "content": [{"type": "image_url", "image_url": {}}]}),
    ],
)
def test_what_a_response_cannot_do_is_not_asked_of_one(asked: dict[str, Any]) -> None:
    assert not can_be_response(asked)


def event(kind: str, **fields: Any) -> bytes:
    return json.dumps({"type": f"response.{kind}", **fields}).encode()


def test_events_become_pieces_with_an_id_an_end_and_a_usage() -> None:
    ids: list[str] = []
    reader = ResponsesReader(Tally(), on_id=ids.append)
    call = {"type": "function_call", "call_id": "c1", "name": "look"}
    events = [
        event("created", response={"id": "resp_1"}),
        event("reasoning_summary_text.delta", delta="hm"),
        event("output_item.added", output_index=1, item={"type": "message"}),
        event("output_text.delta", delta="so "),
        event("output_item.added", output_index=2, item=call),
        event("function_call_arguments.delta", output_index=2, delta="{}"),
        event("completed", response={"usage": {"input_tokens": 3, "output_tokens": 4}}),
        event("output_text.delta", delta="late"),
    ]
    pieces = [piece for each in events for piece in reader.read(each)]
    assert pieces == [
        Piece("reasoning", "hm"),
        Piece("delta", "so "),
        Piece("tool_call", "", {"index": 0, "id": "c1", "name": "look", "arguments": ""}),
        Piece("tool_call", "", {"index": 0, "arguments": "{}"}),
    ]
    assert (ids, reader.is_done, reader.tally.finish_reason) == (["resp_1"], True, "tool_calls")
    assert reader.tally.usage == {"prompt_tokens": 3, "completion_tokens": 4}


@pytest.mark.parametrize("response_id", ["..", "../models", "a b", "a/b", "a?b", "", "x" * 257, 7])
def test_an_id_that_would_lead_to_another_address_is_not_kept(response_id: object) -> None:
    ids: list[str] = []
    ResponsesReader(Tally(), on_id=ids.append).read(event("created", response={"id": response_id}))
    assert ids == []


@pytest.mark.parametrize(
    ("last", "error"),
    [
        (event("failed", response={"error": {"code": "rate_limit_exceeded"}}), RateLimited),
        (b'{"type": "error", "code": "rate_limit_exceeded", "message": "no"}', RateLimited),
        (event("cancelled", response={}), Truncated),
        (b"[1]", UpstreamGarbage),
    ],
)
def test_a_response_that_fails_raises_what_its_error_means(
    last: bytes, error: type[Exception]
) -> None:
    reader = ResponsesReader(Tally())
    reader.read(event("output_text.delta", delta="half"))
    with pytest.raises(error):
        reader.read(last)


def test_a_response_that_reaches_its_limit_ends_with_length() -> None:
    reader = ResponsesReader(Tally())
    reader.read(
        event("incomplete", response={"incomplete_details": {"reason": "max_output_tokens"}})
    )
    assert reader.tally.finish_reason == "length"
