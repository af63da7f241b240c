"""The events of protocols become values; for libraries, see tests/clients/test_adapters.py."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from tickertape import (
    Data,
    Finish,
    FunctionFailed,
    Reasoning,
    Text,
    ToolCall,
    ToolResult,
    from_ag_ui,
    from_ai_sdk,
)

Adapter = Callable[[AsyncIterator[dict[str, Any]]], AsyncIterator[object]]
AG_UI = [
    {"type": "RUN_STARTED", "threadId": "t", "runId": "r"},
    {"type": "REASONING_MESSAGE_CONTENT", "messageId": "m", "delta": "hm"},
    {"type": "TOOL_CALL_START", "toolCallId": "c", "toolCallName": "look_up"},
    {"type": "TOOL_CALL_ARGS", "toolCallId": "c", "delta": '{"order":'},
    {"type": "TOOL_CALL_ARGS", "toolCallId": "c", "delta": '"17"}'},
    {"type": "TOOL_CALL_END", "toolCallId": "c"},
    {"type": "TOOL_CALL_RESULT", "messageId": "m", "toolCallId": "c", "content": "x"},
    {"type": "TOOL_CALL_RESULT", "messageId": "m", "toolCallId": "earlier", "content": "x"},
    {"type": "CUSTOM", "name": "my chart", "value": [1]},
    {"type": "TEXT_MESSAGE_CONTENT", "messageId": "m", "delta": "On its way."},
    {"type": "RUN_FINISHED", "threadId": "t", "runId": "r"},
]
AI_SDK: list[dict[str, Any]] = [
    {"type": "start"},
    {"type": "reasoning-delta", "id": "1", "delta": "hm"},
    {
        "type": "tool-input-available",
        "toolCallId": "c",
        "toolName": "look_up",
        "input": {"order": 1},
    },
    {"type": "tool-output-available", "toolCallId": "c", "output": "?", "preliminary": True},
    {"type": "tool-output-available", "toolCallId": "c", "output": "x"},
    {"type": "tool-output-available", "toolCallId": "earlier", "output": "x"},
    {"type": "data-my chart", "data": [1]},
    {"type": "data-toast", "data": "!", "transient": True},
    {"type": "text-delta", "id": "2", "delta": "On its way."},
    {"type": "finish"},
]


async def of(events: list[dict[str, Any]]) -> AsyncIterator[dict[str, Any]]:
    for event in events:
        yield event


@pytest.mark.parametrize(
    ("adapter", "events", "arguments"),
    [(from_ag_ui, AG_UI, '{"order":"17"}'), (from_ai_sdk, AI_SDK, {"order": 1})],
)
async def test_the_events_of_a_protocol_become_values(
    adapter: Adapter, events: list[dict[str, Any]], arguments: object
) -> None:
    assert [value async for value in adapter(of(events))] == [
        Reasoning("hm"),
        ToolCall("look_up", arguments, "c"),  # type: ignore[arg-type]  # of the case
        ToolResult("x", "c"),
        Data("my_chart", [1]),
        Text("On its way."),
        Finish("stop"),
    ]


async def test_a_state_and_an_error_of_a_tool_keep_what_they_are() -> None:
    snapshot = {"type": "STATE_SNAPSHOT", "snapshot": {"step": 1}}
    assert await anext(from_ag_ui(of([snapshot]))) == Data("state", {"step": 1}, "state")
    failed = {"type": "tool-output-error", "toolCallId": "c", "errorText": "closed"}
    call = AI_SDK[2]
    _, result, _ = [value async for value in from_ai_sdk(of([call, failed]))]
    assert result == ToolResult("closed", "c", is_error=True)


@pytest.mark.parametrize(
    ("adapter", "error"),
    [
        (from_ag_ui, {"type": "RUN_ERROR", "message": "The shop is closed."}),
        (from_ai_sdk, {"type": "error", "errorText": "The shop is closed."}),
    ],
)
async def test_an_error_of_a_protocol_fails_the_request_with_its_words(
    adapter: Adapter, error: dict[str, Any]
) -> None:
    with pytest.raises(FunctionFailed, match="The shop is closed"):
        _ = [value async for value in adapter(of([error]))]
