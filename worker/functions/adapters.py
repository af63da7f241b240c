"""Adapters: what agent libraries stream becomes the values that a function yields.

Each of them takes a stream as its library gives it, and knows the library by the names of its
events, so no library is imported. Events without a place in an answer are left out. A library that
runs the tools itself has its calls in the answer, and the answer ends with `stop`. Such a library
may begin a tool while the call is being recorded: give side effects an idempotency key.

The sources of the names: https://platform.openai.com/docs/api-reference/chat-streaming,
https://ai.pydantic.dev/agent/#streaming-all-events, LangGraph's `stream_mode="messages"`,
https://openai.github.io/openai-agents-python/streaming/, https://docs.ag-ui.com/concepts/events,
https://ai-sdk.dev/docs/ai-sdk-ui/stream-protocol
"""

from collections.abc import AsyncIterable, AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, TypeAlias

from tickertape.worker.functions.values import (
    Finish,
    FunctionFailed,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    Usage,
    Value,
)

# The libraries' own objects, which are known by their attributes.
Event: TypeAlias = Any

_STOPPED = Finish("stop")


@dataclass
class _Call:
    """A tool call that arrives in parts."""

    name: str = ""
    arguments: str = ""
    id: str | None = None

    def add(self, name: str | None, arguments: str | None, call_id: str | None) -> None:
        """Add a part, which has only what is new."""
        self.name += name or ""
        self.arguments += arguments or ""
        self.id = call_id or self.id

    def whole(self) -> ToolCall:
        return ToolCall(self.name, self.arguments or "{}", self.id)


async def from_openai(chunks: AsyncIterable[Event]) -> AsyncIterator[Value]:
    """The chunks of `client.chat.completions.create(stream=True)`, of the first choice.

    Tool calls are for the client, and come whole when the answer ends.
    """
    calls: dict[int, _Call] = {}
    reason: str | None = None
    async for chunk in chunks:
        if chunk.usage is not None:
            yield _usage_of_openai(chunk.usage)
        for choice in chunk.choices[:1]:
            for value in _values_of_delta(choice.delta, calls):
                yield value
            reason = choice.finish_reason or reason
    for _, call in sorted(calls.items()):
        yield call.whole()
    if reason is not None:
        yield Finish(reason)


def _values_of_delta(delta: Event, calls: dict[int, _Call]) -> list[Value]:
    values: list[Value] = []
    # The names of servers that are compatible with OpenAI's.
    reasoning = getattr(delta, "reasoning_content", None) or getattr(delta, "reasoning", None)
    if reasoning:
        values.append(Reasoning(reasoning))
    if delta.content:
        values.append(Text(delta.content))
    if delta.refusal:
        values.append(Refusal(delta.refusal))
    for part in delta.tool_calls or ():
        called = part.function
        calls.setdefault(part.index, _Call()).add(
            called and called.name, called and called.arguments, part.id
        )
    return values


def _usage_of_openai(usage: Event) -> Usage:
    prompt, completion = usage.prompt_tokens_details, usage.completion_tokens_details
    return Usage(
        usage.prompt_tokens,
        usage.completion_tokens,
        cached_tokens=(prompt and prompt.cached_tokens) or 0,
        reasoning_tokens=(completion and completion.reasoning_tokens) or 0,
    )


async def from_pydantic_ai(
    run: AbstractAsyncContextManager[AsyncIterable[Event]],
) -> AsyncIterator[Value]:
    """What `agent.run_stream_events(...)` of Pydantic AI gives."""
    async with run as events:
        async for event in events:
            match event.event_kind:
                case "part_start":
                    value = _text_of_pydantic(event.part.part_kind, event.part)
                case "part_delta":
                    value = _text_of_pydantic(event.delta.part_delta_kind, event.delta)
                case "function_tool_call":
                    part = event.part
                    value = ToolCall(part.tool_name, part.args_as_json_str(), part.tool_call_id)
                case "agent_run_result":
                    value = _usage_of_pydantic(event.result.usage)
                case _:
                    value = None
            if value is not None:
                yield value
    yield _STOPPED


def _text_of_pydantic(kind: str, part: Event) -> Value | None:
    """The text of the beginning of a part, or of a later piece of it."""
    if kind not in {"text", "thinking"}:
        return None
    text = part.content if hasattr(part, "content") else part.content_delta
    if not text:
        return None
    return Text(text) if kind == "text" else Reasoning(text)


def _usage_of_pydantic(usage: Event) -> Usage:
    return Usage(usage.input_tokens, usage.output_tokens, cached_tokens=usage.cache_read_tokens)


async def from_langgraph(stream: AsyncIterable[Event]) -> AsyncIterator[Value]:
    """What `graph.astream(..., stream_mode="messages")` of LangGraph gives.

    Messages of people and of the system are left out, and so are the results of tools.
    """
    calls: dict[tuple[str, int], _Call] = {}
    async for message, _ in stream:
        if message.type in {"AIMessageChunk", "ai"}:
            for value in _values_of_message(message, calls):
                yield value
        elif message.type == "tool":
            # The model has ended, and the tools run.
            for call in calls.values():
                yield call.whole()
            calls.clear()
    for call in calls.values():
        yield call.whole()
    yield _STOPPED


def _values_of_message(message: Event, calls: dict[tuple[str, int], _Call]) -> list[Value]:
    values: list[Value] = []
    for block in message.content_blocks:
        if block["type"] == "text" and block["text"]:
            values.append(Text(block["text"]))
        elif block["type"] == "reasoning" and block.get("reasoning"):
            values.append(Reasoning(block["reasoning"]))
    parts = getattr(message, "tool_call_chunks", None)
    for part in parts or ():
        call = calls.setdefault((message.id, part["index"] or 0), _Call())
        call.add(part["name"], part["args"], part["id"])
    if parts is None:
        values += [ToolCall(each["name"], each["args"], each["id"]) for each in message.tool_calls]
    if used := message.usage_metadata:
        values.append(Usage(used["input_tokens"], used["output_tokens"]))
    return values


async def from_openai_agents(events: AsyncIterable[Event]) -> AsyncIterator[Value]:
    """What `Runner.run_streamed(...).stream_events()` of the OpenAI Agents SDK gives."""
    async for event in events:
        if event.type == "raw_response_event":
            value = _value_of_response(event.data)
        elif event.type == "run_item_stream_event" and event.name == "tool_called":
            item = event.item.raw_item
            name, arguments = getattr(item, "name", None), getattr(item, "arguments", None)
            # A tool that OpenAI runs has no arguments.
            value = ToolCall(name or item.type, arguments or "{}", getattr(item, "call_id", None))
        else:
            value = None
        if value is not None:
            yield value
    yield _STOPPED


def _value_of_response(event: Event) -> Value | None:
    match event.type:
        case "response.output_text.delta":
            return Text(event.delta)
        case "response.reasoning_summary_text.delta" | "response.reasoning_text.delta":
            return Reasoning(event.delta)
        case "response.refusal.delta":
            return Refusal(event.delta)
        case "response.completed" if event.response.usage is not None:
            used = event.response.usage
            return Usage(used.input_tokens, used.output_tokens)
    return None


async def from_ag_ui(events: AsyncIterable[Mapping[str, Any]]) -> AsyncIterator[Value]:
    """The events of the AG-UI protocol, as decoded JSON. RUN_ERROR fails the request."""
    calls: dict[str, _Call] = {}
    async for event in events:
        match event["type"]:
            case "TEXT_MESSAGE_CONTENT" | "TEXT_MESSAGE_CHUNK" if event.get("delta"):
                yield Text(event["delta"])
            case "REASONING_MESSAGE_CONTENT" | "THINKING_TEXT_MESSAGE_CONTENT":
                yield Reasoning(event["delta"])
            case "TOOL_CALL_START":
                calls[event["toolCallId"]] = _Call(event["toolCallName"], id=event["toolCallId"])
            case "TOOL_CALL_ARGS":
                calls[event["toolCallId"]].arguments += event["delta"]
            case "TOOL_CALL_END":
                yield calls.pop(event["toolCallId"]).whole()
            case "RUN_ERROR":
                raise FunctionFailed(event["message"])
    yield _STOPPED


async def from_ai_sdk(parts: AsyncIterable[Mapping[str, Any]]) -> AsyncIterator[Value]:
    """The parts of the AI SDK's UI message stream, as decoded JSON. `error` fails the request."""
    async for part in parts:
        match part["type"]:
            case "text-delta":
                yield Text(part["delta"])
            case "reasoning-delta":
                yield Reasoning(part["delta"])
            case "tool-input-available":
                yield ToolCall(part["toolName"], part["input"], part["toolCallId"])
            case "error":
                raise FunctionFailed(part["errorText"])
    yield _STOPPED
