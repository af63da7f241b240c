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

import json
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeAlias

from tickertape.worker.functions.partial_calls import STOPPED, PartialCall
from tickertape.worker.functions.values import (
    Finish,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    ToolResult,
    Usage,
    Value,
)

# The libraries' own objects, which are known by their attributes.
Event: TypeAlias = Any


async def from_openai(chunks: AsyncIterable[Event]) -> AsyncIterator[Value]:
    """The chunks of `client.chat.completions.create(stream=True)`, of the first choice.

    Tool calls are for the client, and come whole when the answer ends.
    """
    calls: dict[int, PartialCall] = {}
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


def _values_of_delta(delta: Event, calls: dict[int, PartialCall]) -> list[Value]:
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
        calls.setdefault(part.index, PartialCall()).add(
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
    ids: set[str] = set()
    async with run as events:
        async for event in events:
            value: Value | None
            match event.event_kind:
                case "part_start":
                    value = _text_of_pydantic(event.part.part_kind, event.part)
                case "part_delta":
                    value = _text_of_pydantic(event.delta.part_delta_kind, event.delta)
                case "function_tool_call":
                    part = event.part
                    value = ToolCall(part.tool_name, part.args_as_json_str(), part.tool_call_id)
                    ids.add(part.tool_call_id)
                case "function_tool_result" if event.tool_call_id in ids:
                    ids.remove(event.tool_call_id)
                    # `result` is the name of release 1.
                    part = event.part if hasattr(event, "part") else event.result
                    value = _result_of_pydantic(part)
                case "agent_run_result":
                    value = _usage_of_pydantic(event.result.usage)
                case _:
                    value = None
            if value is not None:
                yield value
    yield STOPPED


def _text_of_pydantic(kind: str, part: Event) -> Value | None:
    """The text of the beginning of a part, or of a later piece of it."""
    if kind not in {"text", "thinking"}:
        return None
    text = part.content if hasattr(part, "content") else part.content_delta
    if not text:
        return None
    return Text(text) if kind == "text" else Reasoning(text)


def _result_of_pydantic(part: Event) -> ToolResult:
    """The result as the model gets it; a RetryPromptPart of release 1 says what went wrong."""
    if not hasattr(part, "model_response_str"):
        return ToolResult(part.model_response(), part.tool_call_id, is_error=True)
    text = part.model_response_str()
    result = text if isinstance(part.content, str) else _decoded(text)
    outcome = getattr(part, "outcome", "success")
    return ToolResult(result, part.tool_call_id, is_error=outcome in {"failed", "retried"})


def _decoded(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _usage_of_pydantic(usage: Event) -> Usage:
    return Usage(usage.input_tokens, usage.output_tokens, cached_tokens=usage.cache_read_tokens)


async def from_langgraph(stream: AsyncIterable[Event]) -> AsyncIterator[Value]:
    """What `graph.astream(..., stream_mode="messages")` of LangGraph gives.

    Messages of people and of the system are left out. The graph runs a tool only when the function
    has gone on behind the tool's call.
    """
    calls: dict[tuple[str, int], PartialCall] = {}
    ids: set[str | None] = set()
    async for message, _ in stream:
        if message.type in {"AIMessageChunk", "ai"}:
            for value in _values_of_message(message, calls):
                ids |= {value.id} if isinstance(value, ToolCall) else set()
                yield value
        for key in _ended_calls(message, calls):
            ids.add(calls[key].id)
            yield calls.pop(key).whole()
        if message.type == "tool" and message.tool_call_id in ids:
            ids.remove(message.tool_call_id)
            has_failed = message.status == "error"
            yield ToolResult(message.content, message.tool_call_id, is_error=has_failed)
    for call in calls.values():
        yield call.whole()
    yield STOPPED


def _ended_calls(
    message: Event, calls: dict[tuple[str, int], PartialCall]
) -> list[tuple[str, int]]:
    """The calls that are whole with this message.

    The last chunk of a model's message ends its calls, before any tool runs. Releases that mark no
    last chunk show the end by the first message of a tool.
    """
    is_last = getattr(message, "chunk_position", None) == "last"
    return [key for key in calls if message.type == "tool" or (is_last and key[0] == message.id)]


def _values_of_message(message: Event, calls: dict[tuple[str, int], PartialCall]) -> list[Value]:
    values: list[Value] = []
    for block in message.content_blocks:
        if block["type"] == "text" and block["text"]:
            values.append(Text(block["text"]))
        elif block["type"] == "reasoning" and block.get("reasoning"):
            values.append(Reasoning(block["reasoning"]))
    parts = getattr(message, "tool_call_chunks", None)
    for part in parts or ():
        call = calls.setdefault((message.id, part["index"] or 0), PartialCall())
        call.add(part["name"], part["args"], part["id"])
    if parts is None:
        values += [ToolCall(each["name"], each["args"], each["id"]) for each in message.tool_calls]
    if used := message.usage_metadata:
        values.append(Usage(used["input_tokens"], used["output_tokens"]))
    return values


async def from_openai_agents(events: AsyncIterable[Event]) -> AsyncIterator[Value]:
    """What `Runner.run_streamed(...).stream_events()` of the OpenAI Agents SDK gives."""
    ids: set[str] = set()
    async for event in events:
        value: Value | None
        if event.type == "raw_response_event":
            value = _value_of_response(event.data)
        elif event.type == "run_item_stream_event" and event.name == "tool_called":
            item = event.item.raw_item
            name, arguments = getattr(item, "name", None), getattr(item, "arguments", None)
            call_id = getattr(item, "call_id", None)
            ids |= {call_id} if call_id else set()
            # A tool that OpenAI runs has no arguments.
            value = ToolCall(name or item.type, arguments or "{}", call_id)
        elif event.type == "run_item_stream_event" and event.name == "tool_output":
            call_id = event.item.raw_item.get("call_id")
            value = ToolResult(_plain(event.item.output), call_id) if call_id in ids else None
            ids.discard(call_id)
        else:
            value = None
        if value is not None:
            yield value
    yield STOPPED


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


def _plain(output: object) -> object:
    """What a tool returned; as text if JSON cannot hold it."""
    try:
        json.dumps(output)
    except (TypeError, ValueError, RecursionError):
        return str(output)
    return output
