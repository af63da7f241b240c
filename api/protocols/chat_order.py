"""Pure: messages in the order that chat completions require.

Clients send the items of a response and the parts of a page in any order. Upstreams refuse a tool
call whose output does not follow at once, and an output that holds more than text.
"""

import contextlib
from itertools import groupby

import msgspec

from tickertape.broker.provider_fields import merge
from tickertape.runtime.json_types import JsonObject

Message = JsonObject

_ATTACHED = "The output is in the user message behind the tool messages."


def in_chat_order(messages: list[Message]) -> list[Message]:
    """The messages in a form that every upstream accepts; applying it twice changes nothing.

    One assistant message holds the text and all tool calls of an answer. The outputs follow it, and
    then a user message with the parts of the outputs that are not text. `reasoning_content` may
    arrive as a separate message before its answer. It stays only in turns with tool calls, because
    no upstream requires it elsewhere.
    """
    joined = [
        message
        for is_answer, run in groupby(messages, lambda message: message["role"] == "assistant")
        for message in (_joined(list(run)) if is_answer else run)
    ]
    return _answered_at_once(_without_idle_reasoning(joined))


def _joined(run: list[Message]) -> list[Message]:
    """One message if the run has calls. Otherwise, each message without text joins the next one."""
    if any(message.get("tool_calls") for message in run):
        return [_one(run)]
    joined: list[Message] = []
    pending: list[Message] = []
    for message in run:
        pending.append(message)
        if message.get("content"):
            joined.append(_one(pending))
            pending = []
    return joined


def _one(run: list[Message]) -> Message:
    reasoning = "".join(message.get("reasoning_content") or "" for message in run)
    one: Message = {}
    for message in run:
        merge(one, message)  # merges the calls and the provider fields
    if calls := one.get("tool_calls"):
        one["tool_calls"] = [_with_object(call) for call in calls]
    one["content"] = "".join(message.get("content") or "" for message in run) or None
    one.pop("reasoning_content", None)
    if reasoning:
        one["reasoning_content"] = reasoning
    return one


def _with_object(call: Message) -> Message:
    """The call with arguments that are a JSON object, because upstreams refuse any other.

    If the model wrote other arguments, they are wrapped, so that it can see its mistake.
    """
    function = call.get("function")
    if not isinstance(function, dict):
        return call
    arguments = function.get("arguments")
    with contextlib.suppress(msgspec.DecodeError, TypeError, RecursionError):
        msgspec.json.decode(arguments or "{}", type=dict[str, msgspec.Raw])
        return {**call, "function": {**function, "arguments": arguments or "{}"}}
    wrapped = msgspec.json.encode({"input": arguments}).decode()
    return {**call, "function": {**function, "arguments": wrapped}}


def _without_idle_reasoning(messages: list[Message]) -> list[Message]:
    turns: list[list[Message]] = [[]]
    for message in messages:
        if message["role"] == "user":
            turns.append([])
        turns[-1].append(message)
    return [
        message if has_calls else _without(message, "reasoning_content")
        for turn in turns
        for has_calls in [any(message.get("tool_calls") for message in turn)]
        for message in turn
    ]


def _without(message: Message, name: str) -> Message:
    return {key: value for key, value in message.items() if key != name}


def _answered_at_once(messages: list[Message]) -> list[Message]:
    """Move each output behind its call, past any messages between the two."""
    groups: list[list[Message]] = []
    calling: dict[str, list[Message]] = {}
    for message in messages:
        group = calling.get(message.get("tool_call_id", "")) if message["role"] == "tool" else None
        if group is not None:
            group.append(message)
            continue
        groups.append([message])
        calling |= {call["id"]: groups[-1] for call in message.get("tool_calls") or []}
    return [message for group in groups for message in _with_attachments_last(group)]


def _with_attachments_last(group: list[Message]) -> list[Message]:
    kept: list[Message] = []
    attached: list[Message] = []
    for message in group:
        content = message.get("content")
        if message["role"] != "tool" or not isinstance(content, list):
            kept.append(message)
            continue
        text = "\n".join(part["text"] for part in content if part["type"] == "text")
        others = [part for part in content if part["type"] != "text"]
        kept.append({**message, "content": text or (_ATTACHED if others else "")})
        if others:
            head = {"type": "text", "text": f"Output of the call {message['tool_call_id']}:"}
            attached += [head, *others]
    return [*kept, {"role": "user", "content": attached}] if attached else kept
