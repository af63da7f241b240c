"""What a model gets of the body of a run."""

from typing import Any

import pytest

from tests.wires.runs import HI, body
from tickertape.api.edge.problems import Problem
from tickertape.api.protocols.agui.body import RunAgentInput

CALL = {"id": "c", "type": "function", "function": {"name": "look", "arguments": '{"at":1}'}}
LOOK = {"type": "function", "function": {"name": "look", "arguments": '{"at":1}'}}
SIGNED = {"tickertape": {"extra_content": {"signature": "s"}}}
PNG = "data:image/png;base64,AAAA"


def given(*messages: dict[str, Any], **fields: Any) -> RunAgentInput:
    return RunAgentInput.model_validate(body(*messages, **fields))


def test_calls_go_back_with_their_results_their_reasoning_and_their_fields() -> None:
    run = given(
        HI,
        {"id": "r", "role": "reasoning", "content": "Hm."},
        {"id": "a", "role": "assistant", "content": "I look.", "toolCalls": [
            {**CALL, "metadata": SIGNED}, {**CALL, "id": "never answered"},
        ]},
        {"id": "t", "role": "tool", "toolCallId": "c", "content": '{"seen":3}'},
        {"id": "x", "role": "activity", "activityType": "plan", "content": {"steps": []}},
    )  # fmt: skip
    assert run.chat_messages() == [
        {"role": "user", "content": "hi"},
        {
            "role": "assistant",
            "content": "I look.",
            "reasoning_content": "Hm.",
            "tool_calls": [{"id": "c", "extra_content": {"signature": "s"}, **LOOK}],
        },
        {"role": "tool", "tool_call_id": "c", "content": '{"seen":3}'},
    ]
    assert run.question() == [{"role": "tool", "tool_call_id": "c", "content": '{"seen":3}'}]


@pytest.mark.parametrize(
    ("part", "content"),
    [
        (
            {"type": "image", "source": {"type": "data", "value": "AAAA", "mimeType": "image/png"}},
            {"type": "image_url", "image_url": {"url": PNG}},
        ),
        (
            {"type": "image", "source": {"type": "url", "value": "https://example.org/a"}},
            {"type": "image_url", "image_url": {"url": "https://example.org/a"}},
        ),
        (
            {"type": "binary", "mimeType": "image/png", "data": "AAAA"},
            {"type": "image_url", "image_url": {"url": PNG}},
        ),
        (
            {"type": "audio", "source": {"type": "data", "value": "AA", "mimeType": "audio/wav"}},
            {"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}},
        ),
    ],
)
def test_files_go_to_the_model(part: dict[str, Any], content: dict[str, Any]) -> None:
    text = {"type": "text", "text": "Look."}
    assert given({**HI, "content": [text, part]}).chat_messages() == [
        {"role": "user", "content": [text, content]}
    ]


def test_a_file_that_no_model_takes_is_named_in_the_new_message_and_left_out_of_earlier_ones() -> (
    None
):
    handle = {"type": "document", "source": {"type": "file", "value": "file-1"}}
    message = {**HI, "content": [handle]}
    with pytest.raises(Problem) as refused:
        given(message).chat_messages()
    assert refused.value.param == "messages[0].content[0]"
    earlier, _ = given(message, {**HI, "id": "u-2"}).chat_messages()
    assert earlier["content"][0]["text"].startswith("[A file was left out")


def test_what_the_page_shows_is_a_message_in_front_and_its_tools_are_functions() -> None:
    context = [{"description": "The user's town", "value": "Ulm"}, {"value": "It rains."}]
    tool = {"name": "look", "description": "Looks.", "parameters": {"type": "object"}}
    run = given(HI, context=context, tools=[tool])
    front, _ = run.chat_messages()
    assert front["role"] == "system"
    assert front["content"].endswith("The user's town:\nUlm\n\nIt rains.")
    assert run.params(run.props)["tools"] == [{"type": "function", "function": tool}]


def test_a_null_is_an_absent_field_and_other_properties_are_the_pages_own() -> None:
    nothing = {"tools": None, "context": None, "forwardedProps": "x", "state": None}
    run = given({**HI, "name": None, "toolCalls": None}, **nothing, resume=None)
    assert run.params(run.props) == {}
    assert run.echo() == {"threadId": "thread", "runId": "run-1", "messages": [HI]}


@pytest.mark.parametrize(
    ("messages", "fields", "param"),
    [
        ([HI], {"resume": [{"interruptId": "i", "status": "resolved"}]}, "resume"),
        ([{"id": "a", "role": "activity", "content": {}}], {}, "messages"),
    ],
)
def test_a_run_without_something_to_answer_is_refused(
    messages: list[dict[str, Any]], fields: dict[str, Any], param: str
) -> None:
    with pytest.raises(Problem) as refused:
        given(*messages, **fields).chat_messages()
    assert (refused.value.status_code, refused.value.param) == (400, param)
