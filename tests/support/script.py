"""A scripted upstream's answer to one request: a list of steps, and the bytes of each step.

Pure: knows no sockets. A script that runs out of steps ends the body properly, so a script without
`Finish` is a clean end without a finish_reason.
"""

import asyncio
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

JsonObject = dict[str, Any]

COMPLETION_ID = "chatcmpl-scripted"
CREATED_S = 1_700_000_000
DEFAULT_MODEL = "scripted-model"


@dataclass(frozen=True)
class Text:
    """One delta of text; "" and lone surrogate halves are sent as they are."""

    text: str


@dataclass(frozen=True)
class Reasoning:
    """One delta of reasoning; providers disagree on its `key`: reasoning_content, reasoning."""

    text: str
    key: str = "reasoning_content"


@dataclass(frozen=True)
class Refusal:
    """One delta of a refusal."""

    text: str


@dataclass(frozen=True)
class ToolCall:
    """One partial tool call; real upstreams send `call_id` and `name` with the first part only."""

    arguments: str = ""
    name: str | None = None
    call_id: str | None = None
    index: int | None = 0


@dataclass(frozen=True)
class Role:
    """The opening chunk most upstreams send: a role, and content that is empty or null."""

    content: str | None = ""


@dataclass(frozen=True)
class Chunk:
    """A complete chunk, for shapes that no other step has: `Chunk({"choices": []})`."""

    payload: JsonObject


@dataclass(frozen=True)
class Finish:
    """The chunk with the finish_reason: stop, length, tool_calls, content_filter."""

    reason: str = "stop"


@dataclass(frozen=True)
class Usage:
    """The usage chunk, with empty `choices`."""

    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True)
class Error:
    """An error inside the stream, after a 200."""

    message: str = "The server had an error"
    code: str | None = "server_error"


@dataclass(frozen=True)
class Done:
    """`data: [DONE]`."""


@dataclass(frozen=True)
class Comment:
    """A keep-alive comment."""

    text: str = "keep-alive"


@dataclass(frozen=True)
class LineEnding:
    """The end of all later lines: LF by default, or CR LF, or CR."""

    eol: str


@dataclass(frozen=True)
class Raw:
    """These bytes, as they are, in one write."""

    data: bytes


@dataclass(frozen=True)
class Split:
    """The bytes of `step`, split at these offsets into separate writes."""

    step: "Step | bytes"
    offsets: Sequence[int]


@dataclass(frozen=True)
class Headers:
    """Send the response head now, with these headers, and not together with the first bytes."""

    extra: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Pause:
    """Silence for a time."""

    pause_s: float


@dataclass(frozen=True)
class Wait:
    """Silence until the test opens the gate."""

    gate: asyncio.Event


@dataclass(frozen=True)
class Status:
    """A whole response that is not a stream: an HTTP error, or an HTML page. Only the first step.

    `body` is sent as JSON unless it is text. No step after it is played.
    """

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: JsonObject | list[JsonObject] | str = ""


@dataclass(frozen=True)
class Cut:
    """FIN in the middle of the body."""


@dataclass(frozen=True)
class Reset:
    """RST."""


Step = (
    Text | Reasoning | Refusal | ToolCall | Role | Chunk | Finish | Usage | Error | Done | Comment
    | LineEnding | Raw | Split | Headers | Pause | Wait | Status | Cut | Reset
)  # fmt: skip
# A generator serves one request only: return it from a callable.
Script = Iterable[Step]


def answer(
    text: str | Iterable[str], *, finish: str = "stop", usage: tuple[int, int] | None = (7, 5)
) -> list[Step]:
    """A whole, well-behaved answer with one delta per piece of `text`."""
    pieces = [text] if isinstance(text, str) else text
    steps: list[Step] = [Role(), *map(Text, pieces), Finish(finish)]
    if usage is not None:
        steps.append(Usage(*usage))
    return [*steps, Done()]


def rate_limited(retry_after: str | None = "1") -> list[Step]:
    """A 429 as OpenAI words it."""
    headers = {} if retry_after is None else {"retry-after": retry_after}
    return [Status(429, headers, error_body("Rate limit reached", "rate_limit_exceeded"))]


def error_body(message: str, code: str | None) -> JsonObject:
    """The error object of an OpenAI-compatible server."""
    return {"error": {"message": message, "type": "server_error", "param": None, "code": code}}


def payload_of(step: Step, model: str) -> JsonObject | None:
    """The JSON that `step` sends, None if it sends none."""
    payload: JsonObject | None = None
    match step:
        case Finish(reason):
            payload = _chunk([{"index": 0, "delta": {}, "finish_reason": reason}], model)
        case Usage(prompt, completion):
            usage = {
                "prompt_tokens": prompt,
                "completion_tokens": completion,
                "total_tokens": prompt + completion,
            }
            payload = {**_chunk([], model), "usage": usage}
        case Error(message, code):
            payload = error_body(message, code)
        case Chunk(given):
            payload = given
        case _ if (delta := _delta_of(step)) is not None:
            payload = _chunk([{"index": 0, "delta": delta, "finish_reason": None}], model)
    return payload


def bytes_of(step: Step, *, model: str = DEFAULT_MODEL, eol: str = "\n") -> bytes:
    """The bytes that `step` adds to the body; empty for a step without output."""
    match step:
        case Raw(data):
            return data
        case Done():
            return f"data: [DONE]{eol}{eol}".encode()
        case Comment(text):
            return f": {text}{eol}{eol}".encode()
    payload = payload_of(step, model)
    if payload is None:
        return b""
    return b"data: " + _json_bytes(payload) + f"{eol}{eol}".encode()


def is_output(step: Step) -> bool:
    """Whether `step` is a delta a reader would see."""
    return isinstance(step, Text | Reasoning | Refusal | ToolCall)


def _json_bytes(payload: JsonObject) -> bytes:
    try:
        return msgspec.json.encode(payload)
    except UnicodeEncodeError:  # a lone surrogate can only travel escaped
        return json.dumps(payload, separators=(",", ":")).encode()


def _delta_of(step: Step) -> JsonObject | None:
    delta: JsonObject | None = None
    match step:
        case Text(text):
            delta = {"content": text}
        case Reasoning(text, key):
            delta = {key: text}
        case Refusal(text):
            delta = {"refusal": text}
        case ToolCall():
            delta = {"tool_calls": [_tool_call(step)]}
        case Role(content):
            delta = {"role": "assistant", "content": content}
    return delta


def _chunk(choices: list[JsonObject], model: str) -> JsonObject:
    return {
        "id": COMPLETION_ID,
        "object": "chat.completion.chunk",
        "created": CREATED_S,
        "model": model,
        "choices": choices,
    }


def _tool_call(step: ToolCall) -> JsonObject:
    call: JsonObject = {} if step.index is None else {"index": step.index}
    if step.call_id is not None:
        call |= {"id": step.call_id, "type": "function"}
    function = {"arguments": step.arguments}
    if step.name is not None:
        function["name"] = step.name
    return call | {"function": function}
