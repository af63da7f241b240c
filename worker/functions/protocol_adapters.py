"""Adapters for the events of protocols: AG-UI and the AI SDK (see adapters.py).

The sources of the names: https://docs.ag-ui.com/concepts/events,
https://ai-sdk.dev/docs/ai-sdk-ui/stream-protocol
"""

import re
from collections.abc import AsyncIterable, AsyncIterator, Mapping
from typing import Any

from tickertape.worker.functions.partial_calls import STOPPED, PartialCall
from tickertape.worker.functions.values import (
    Data,
    FunctionFailed,
    Reasoning,
    Text,
    ToolCall,
    ToolResult,
    Value,
)

_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_.-]", re.ASCII)


async def from_ag_ui(events: AsyncIterable[Mapping[str, Any]]) -> AsyncIterator[Value]:
    """The events of the AG-UI protocol, as decoded JSON. RUN_ERROR fails the request.

    Custom events become data of their names, and STATE_SNAPSHOT becomes data named `state`.
    """
    calls: dict[str, PartialCall] = {}
    ids: set[str] = set()
    async for event in events:
        match event["type"]:
            case "TEXT_MESSAGE_CONTENT" | "TEXT_MESSAGE_CHUNK" if event.get("delta"):
                yield Text(event["delta"])
            case "REASONING_MESSAGE_CONTENT" | "THINKING_TEXT_MESSAGE_CONTENT":
                yield Reasoning(event["delta"])
            case "TOOL_CALL_START":
                call_id = event["toolCallId"]
                calls[call_id] = PartialCall(event["toolCallName"], id=call_id)
            case "TOOL_CALL_ARGS":
                calls[event["toolCallId"]].arguments += event["delta"]
            case "TOOL_CALL_END":
                ids.add(event["toolCallId"])
                yield calls.pop(event["toolCallId"]).whole()
            case "TOOL_CALL_RESULT" if event["toolCallId"] in ids:
                ids.remove(event["toolCallId"])
                yield ToolResult(event["content"], event["toolCallId"])
            case "CUSTOM" | "STATE_SNAPSHOT":
                yield _data_of(event)
            case "RUN_ERROR":
                raise FunctionFailed(event["message"])
    yield STOPPED


async def from_ai_sdk(parts: AsyncIterable[Mapping[str, Any]]) -> AsyncIterator[Value]:
    """The parts of the AI SDK's UI message stream, as decoded JSON. `error` fails the request.

    Transient data and preliminary outputs are left out.
    """
    ids: set[str] = set()
    async for part in parts:
        match part["type"]:
            case "text-delta":
                yield Text(part["delta"])
            case "reasoning-delta":
                yield Reasoning(part["delta"])
            case "tool-input-available":
                ids.add(part["toolCallId"])
                yield ToolCall(part["toolName"], part["input"], part["toolCallId"])
            case "tool-output-available" | "tool-output-error" if part["toolCallId"] in ids:
                if not part.get("preliminary"):
                    ids.remove(part["toolCallId"])
                    yield _result(part)
            case str(kind) if kind.startswith("data-") and not part.get("transient"):
                yield _data(kind.removeprefix("data-"), part.get("data"), part.get("id"))
            case "error":
                raise FunctionFailed(part["errorText"])
    yield STOPPED


def _result(part: Mapping[str, Any]) -> ToolResult:
    if part["type"] == "tool-output-error":
        return ToolResult(part["errorText"], part["toolCallId"], is_error=True)
    return ToolResult(part.get("output"), part["toolCallId"])


def _data_of(event: Mapping[str, Any]) -> Data:
    if event["type"] == "STATE_SNAPSHOT":
        return Data("state", event["snapshot"], "state")
    return _data(event["name"], event.get("value"), None)


def _data(name: str, value: object, part_id: str | None) -> Data:
    """Data under a name that has no other characters than those of Data."""
    return Data(_NOT_IN_NAMES.sub("_", name)[:64] or "_", value, part_id)
