"""Pure: decodes the few fields of a chat completion chunk that are needed.

Typed decoding of these fields costs a tenth of the SDK's objects. Chunks that it refuses are
decoded patiently: with lone surrogates, with bytes that are not UTF-8, with other types than
OpenAI's, and with provider fields, which are collected in `x`. Patient decoding fails only if a
part of the answer could be lost.
"""

import contextlib
import json
from typing import Annotated, Any

import msgspec

from tickertape.worker.upstream.error_reports import is_error
from tickertape.worker.upstream.errors import UpstreamGarbage
from tickertape.worker.upstream.surrogates import scrubbed

_MAX_INDEX = 2**31
_MAX_NESTED = 1_000_000
Index = Annotated[int, msgspec.Meta(ge=0, le=_MAX_INDEX)]


# A field that is often sent empty. If it is not empty, the chunk is decoded patiently.
Empty = Annotated[list[Any], msgspec.Meta(max_length=0)] | None
Fields = dict[str, Any] | None
_X = "tickertape.x"  # set by this module, never by an upstream


class Function(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """The part of a call that concerns its tool. Custom tools have `input` instead of arguments."""

    name: str | None = None
    arguments: str | None = None
    input: str | None = None
    x: Fields = msgspec.field(default=None, name=_X)


class ToolCall(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """A partial tool call with `function` or `custom`, whose `x` is also in the call's `x`."""

    index: Index | None = None
    id: str | None = None
    type: str | None = None
    function: Function | None = None
    custom: Function | None = None
    extra_content: None = None
    provider_specific_fields: None = None
    x: Fields = msgspec.field(default=None, name=_X)


class Delta(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """The part of the message that a chunk adds."""

    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    tool_calls: list[ToolCall] | None = None
    role: str | None = None
    x: Fields = msgspec.field(default=None, name=_X)
    annotations: Empty = None
    audio: None = None
    extra_content: None = None
    function_call: None = None
    images: Empty = None
    provider_specific_fields: None = None
    reasoning_details: Empty = None
    thinking_blocks: Empty = None


class Choice(msgspec.Struct, gc=False):
    """One of the requested answers; only index 0 is used.

    If `delta` is missing, `message` or `text` may have the output.
    """

    index: Index | None = 0
    delta: Delta | None = None
    message: Delta | None = None
    text: str | None = None
    finish_reason: str | None = None
    logprobs: dict[str, Any] | None = None
    error: Any = None


class Chunk(msgspec.Struct, gc=False):
    """One chunk. `choices` may be empty or missing, in a usage chunk or in Azure's first chunk.

    `error` is the upstream's report of a failure in any form, or None.
    """

    choices: list[Choice] | None = None
    usage: dict[str, Any] | None = None
    error: Any = None


_DECODER = msgspec.json.Decoder(Chunk)


def decode_chunk(data: bytes) -> Chunk:
    """The chunk in `data`; raises UpstreamGarbage if `data` is not a chunk.

    Text may contain lone surrogates. All other fields can be encoded as JSON.
    """
    try:
        chunk = _DECODER.decode(data)
    except (ValueError, RecursionError):  # msgspec's and Unicode's errors are ValueErrors
        return _decode_patiently(data)
    if chunk.error or not chunk.choices:
        chunk.error = _error_in(_value_of(data))
    return chunk


def decode_error(data: bytes) -> object:
    """The data of an event whose name is `error`: an object, or a text."""
    value = _value_of(data)
    return data.decode("utf-8", "replace") if value is None else value


def _decode_patiently(data: bytes) -> Chunk:
    value = _value_of(data)
    if isinstance(value, list) and any(map(_error_in, value)):  # Gemini lists its errors
        return Chunk(error=value)
    if isinstance(value, dict):
        with contextlib.suppress(ValueError, RecursionError):
            return _chunk(value)
    # The error must not contain the data, which may quote the prompt. It is raised outside of the
    # handler, because `from None` would keep the data as context.
    raise UpstreamGarbage("The upstream sent an event that is not a chat completion chunk.")


def _value_of(data: bytes) -> Any:
    # An event of 8 MB that is a list of empty objects would take 200 MB.
    if data.count(b"{") + data.count(b"[") > _MAX_NESTED:
        return None
    try:
        return json.loads(data.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None


def _error_in(value: Any) -> dict[str, Any] | None:
    """The whole object if it is an error, because details may be beside its `error` field."""
    if not isinstance(value, dict):
        return None
    has_error = value.get("error") if value.get("choices") else is_error(value)
    return value if has_error else None


def _chunk(value: dict[str, Any]) -> Chunk:
    choices = value.get("choices")
    return Chunk(
        choices=[_choice(item) for item in _list(choices) if isinstance(item, dict)],
        usage=_object(value.get("usage")),
        error=_error_in(value),
    )


def _choice(value: dict[str, Any]) -> Choice:
    delta, message = (_delta_in(value.get(name)) for name in ("delta", "message"))
    return Choice(
        index=_index(value.get("index")),
        delta=delta,
        message=message,
        text=_text(value.get("text")) if delta is None else None,
        finish_reason=_word(value.get("finish_reason")),
        logprobs=_object(value.get("logprobs")),
        error=value.get("error"),
    )


def _delta_in(value: Any) -> Delta | None:
    if not isinstance(value, dict):
        return None
    content, reasoning = _content(value.get("content"))
    x = _unknown(value, _DELTA_FIELDS)
    if others := _other_parts(value.get("content")):
        x["content_parts"] = others
    return Delta(
        content=content,
        reasoning_content=_text(value.get("reasoning_content")) or reasoning,
        reasoning=_text(value.get("reasoning")),
        refusal=_text(value.get("refusal")),
        tool_calls=[_tool_call(item) for item in _list(value.get("tool_calls"))],
        x=x or None,
    )


def _content(value: Any) -> tuple[str | None, str | None]:
    """Text and reasoning. Mistral's reasoning models send content as a list of typed parts."""
    if not isinstance(value, list):
        return _text(value), None
    texts: list[str] = []
    thoughts: list[str] = []
    for part in value:
        match part:
            case {"type": "text", "text": str(text)}:
                texts.append(text)
            case {"type": "thinking", "thinking": list(inner)}:
                thoughts.append(_content(inner)[0] or "")
            case {"type": "text"} | {"type": "thinking"} | str():
                raise ValueError
            case _:  # an image or a reference, which is not text
                continue
    return "".join(texts), "".join(thoughts)


def _other_parts(content: Any) -> list[Any]:
    return [
        scrubbed(part)
        for part in _list(content)
        if not isinstance(part, dict) or part.get("type") not in {"text", "thinking"}
    ]


def _tool_call(value: Any) -> ToolCall:
    if not isinstance(value, dict):
        raise ValueError  # noqa: TRY004  # one error for all malformed chunks
    function, custom = _function(value.get("function")), _function(value.get("custom"))
    x = _unknown(value, _CALL_FIELDS)
    for name, tool in (("function", function), ("custom", custom)):
        if tool is not None and tool.x:
            x[name] = tool.x
    return ToolCall(
        index=_index(value.get("index")),
        id=_word(value.get("id")),
        type=_word(value.get("type")),
        function=function,
        custom=custom,
        x=x or None,
    )


def _function(value: Any) -> Function | None:
    if not isinstance(value, dict):
        return None
    arguments = value.get("arguments")
    if isinstance(arguments, dict):  # some local servers send them parsed
        arguments = json.dumps(scrubbed(arguments), ensure_ascii=False)
    return Function(
        _word(value.get("name")),
        _text(arguments),
        _text(value.get("input")),
        _unknown(value, _FUNCTION_FIELDS) or None,
    )


def _unknown(value: dict[str, Any], known: frozenset[str]) -> dict[str, Any]:
    """Provider fields as the upstream sent them, without empty ones."""
    return {
        name: scrubbed(field)
        for name, field in value.items()
        if name not in known and field not in (None, "", [], {})
    }


_DELTA_FIELDS = frozenset(
    {"role", "content", "reasoning_content", "reasoning", "refusal", "tool_calls"}
)
_CALL_FIELDS = frozenset({"index", "id", "type", "function", "custom"})
_FUNCTION_FIELDS = frozenset({"name", "arguments", "input"})


def _text(value: Any) -> str | None:
    """A text of the answer. Raises ValueError for other types, because text would be lost."""
    if value is not None and not isinstance(value, str):
        raise ValueError
    return value


def _word(value: Any) -> str | None:
    return scrubbed(value) if isinstance(value, str) else None


def _index(value: Any) -> int | None:
    return value if isinstance(value, int) and 0 <= value <= _MAX_INDEX else None


def _object(value: Any) -> dict[str, Any] | None:
    return scrubbed(value) if isinstance(value, dict) else None


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
