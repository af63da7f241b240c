"""The bodies that cost a server the most for their size, for each wire."""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

Json = Any

# Just below the limit of values of a body.
MANY = 96_000
HI = {"role": "user", "content": "hi"}


class WorstBody(NamedTuple):
    """A body for a path, and what is bad about it."""

    name: str
    path: str
    content: bytes


def worst_bodies(path: str, many: int = MANY) -> Iterator[WorstBody]:
    """The worst bodies of at most `many` values for a path; refused ones and valid ones."""
    for name, body in _MAKERS[path](many).items():
        yield WorstBody(name, path, json.dumps(body).encode())


def _fields(many: int) -> Json:
    return {f"k{number}": 0 for number in range(many)}


def _native(many: int) -> Json:
    zeros = [0] * many
    text = {"type": "text", "text": ""}
    return {
        "zeros as content": {"messages": [{"role": "user", "content": zeros}]},
        "zeros as messages": {"messages": zeros},
        "zeros as tool calls": {"messages": [{**HI, "tool_calls": zeros}]},
        "unknown fields": {"message": "hi", **_fields(many)},
        "unknown fields of a part": {
            "messages": [{"role": "user", "content": [{**text, **_fields(many)}]}]
        },
        "variables": {"message": "hi", "variables": _fields(many)},
        "metadata": {"message": "hi", "metadata": _fields(many)},
        "empty parts": {"messages": [{"role": "user", "content": [text] * (many // 3)}]},
        "messages": {"messages": [HI] * (many // 3)},
        "large messages of a conversation": {
            "conversation_id": "c",
            "messages": [{"role": "user", "content": "é" * 5000}] * 400,
        },
    }


def _chat(many: int) -> Json:
    zeros = [0] * many
    hi = {"messages": [HI], "stream": True}
    return {
        "zeros as messages": {"messages": zeros},
        "empty parts": {**hi, "messages": [{"role": "user", "content": [{}] * many}]},
        "messages": {**hi, "messages": [{"role": "a"}] * (many // 2)},
        "biases": {**hi, "logit_bias": _fields(many)},
        "stops": {**hi, "stop": [""] * many},
        "tools": {**hi, "tools": [{}] * many},
        "fields that nobody reads": {**hi, **_fields(many)},
    }


def _responses(many: int) -> Json:
    zeros = [0] * many
    hi = [HI] * (many // 3)
    empty = {"type": "input_text", "text": ""}
    return {
        "zeros as input": {"input": zeros, "background": True},
        "messages": {"input": hi, "background": True},
        "empty parts": {
            "input": [{"role": "user", "content": [empty] * (many // 4)}],
            "background": True,
        },
        "zeros as include": {"input": "hi", "include": zeros[9:], "background": True},
        "tools": {"input": "hi", "tools": [{}] * many, "background": True},
        "fields that nobody reads": {"input": "hi", "background": True, **_fields(many)},
    }


def _ai_sdk(many: int) -> Json:
    zeros = [0] * many
    text = {"type": "text", "text": ""}
    step = [{"type": "step-start"}, {"type": "text", "text": "a"}]
    return {
        "zeros as messages": {"id": "c", "messages": zeros},
        "zeros as parts": {"id": "c", "messages": [{"role": "user", "parts": zeros}]},
        "empty parts": {"id": "c", "messages": [{"role": "user", "parts": [text] * (many // 3)}]},
        "steps": {
            "id": "c",
            "messages": [{"role": "assistant", "parts": step * (many // 5)}, _ui("hi")],
        },
        "messages": {"id": "c", "messages": [_ui("hi")] * (many // 6)},
        "zeros as tools": {"id": "c", "messages": [_ui("hi")], "tools": zeros},
    }


def _ui(text: str) -> Json:
    return {"role": "user", "parts": [{"type": "text", "text": text}]}


def _agui(many: int) -> Json:
    ids: dict[str, Any] = {"threadId": "t", "runId": f"r{many}"}
    hi = {**HI, "id": "u"}
    call = {"id": "c", "function": {"name": "f", "arguments": ""}}
    text = {"type": "text", "text": ""}
    return {
        "zeros as messages": {**ids, "messages": [0] * many},
        "empty parts": {**ids, "messages": [{**hi, "content": [text] * (many // 3)}]},
        "messages": {**ids, "messages": [hi] * (many // 4)},
        "calls": {
            **ids,
            "messages": [{**hi, "role": "assistant", "toolCalls": [call] * (many // 6)}, hi],
        },
        "fields of a message": {**ids, "messages": [{**hi, **_fields(many)}]},
        "state": {**ids, "messages": [hi], "state": _fields(many)},
    }


def _terminal(many: int) -> Json:
    return {
        "zeros as messages": {"message": [0] * many},
        "messages": {"message": [HI] * (many // 3)},
    }


_MAKERS = {
    "/chat": _native,
    "/v1/chat/completions": _chat,
    "/v1/responses": _responses,
    "/api/chat": _ai_sdk,
    "/agui": _agui,
    "/api/gpt/get": _terminal,
}
PATHS = tuple(_MAKERS)
