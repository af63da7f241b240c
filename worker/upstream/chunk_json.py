"""Pure: the JSON of a chat completion chunk to the few fields that are needed.

Typed decoding of just these costs a tenth of building the SDK's objects. What it refuses gets a
second, patient reading: lone surrogates, bytes that are no UTF-8, fields of another type than
OpenAI's, and fields that only the upstream knows, which the patient reading gathers in `x`. It
gives up only where going on could lose a part of the answer.
"""

import contextlib
import json
from typing import Annotated, Any

import msgspec

from tickertape.worker.upstream.error_reports import is_error
from tickertape.worker.upstream.errors import UpstreamGarbage
from tickertape.worker.upstream.surrogates import scrubbed

_MAX_INDEX = 2**31
Index = Annotated[int, msgspec.Meta(ge=0, le=_MAX_INDEX)]


# A field that is often there and empty: with anything in it, the chunk is read patiently.
Empty = Annotated[list[Any], msgspec.Meta(max_length=0)] | None
Fields = dict[str, Any] | None
_X = "tickertape.x"  # set here, by no upstream


class Function(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """What a partial tool call adds to its tool; custom tools say `input` for arguments."""

    name: str | None = None
    arguments: str | None = None
    input: str | None = None
    x: Fields = msgspec.field(default=None, name=_X)


class ToolCall(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """A partial tool call; one of `function` and `custom` is set. `x` has that one's `x`, too."""

    index: Index | None = None
    id: str | None = None
    type: str | None = None
    function: Function | None = None
    custom: Function | None = None
    extra_content: None = None
    provider_specific_fields: None = None
    x: Fields = msgspec.field(default=None, name=_X)


class Delta(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """What a chunk adds to the message."""

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
    """One of the answers asked for; only index 0 is ever used.

    Where `delta` is missing, `message` or `text` may say the same.
    """

    index: Index | None = 0
    delta: Delta | None = None
    message: Delta | None = None
    text: str | None = None
    finish_reason: str | None = None
    logprobs: dict[str, Any] | None = None
    error: Any = None


class Chunk(msgspec.Struct, gc=False):
    """`choices` may be empty or missing (usage, Azure's first chunk).

    `error` is whatever the upstream says about its failure, or None.
    """

    choices: list[Choice] | None = None
    usage: dict[str, Any] | None = None
    error: Any = None


_DECODER = msgspec.json.Decoder(Chunk)


def decode_chunk(data: bytes) -> Chunk:
    """The chunk in `data`; raises UpstreamGarbage for what is none.

    Text may hold lone surrogates; everything else can be encoded again.
    """
    try:
        chunk = _DECODER.decode(data)
    except (ValueError, RecursionError):  # msgspec's and Unicode's errors are ValueErrors
        return _decode_patiently(data)
    if chunk.error or not chunk.choices:
        chunk.error = _error_in(_value_of(data))
    return chunk


def decode_error(data: bytes) -> object:
    """What an event says that is an error by its name: an object, or a text."""
    value = _value_of(data)
    return data.decode("utf-8", "replace") if value is None else value


def _decode_patiently(data: bytes) -> Chunk:
    value = _value_of(data)
    if isinstance(value, list) and any(map(_error_in, value)):  # Gemini lists its errors
        return Chunk(error=value)
    if isinstance(value, dict):
        with contextlib.suppress(ValueError, RecursionError):
            return _chunk(value)
    # What the data was is not told: it may quote the prompt. `from None` would keep it as context.
    raise UpstreamGarbage("The upstream sent an event that is not a chat completion chunk.")


def _value_of(data: bytes) -> Any:
    try:
        return json.loads(data.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None


def _error_in(value: Any) -> dict[str, Any] | None:
    """The whole object, if it is an error: what is said about one may stand next to `error`."""
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
    content, thinking = _content(value.get("content"))
    x = _unknown(value, _DELTA_FIELDS)
    if others := _other_parts(value.get("content")):
        x["content_parts"] = others
    return Delta(
        content=content,
        reasoning_content=_text(value.get("reasoning_content")) or thinking,
        reasoning=_text(value.get("reasoning")),
        refusal=_text(value.get("refusal")),
        tool_calls=[_tool_call(item) for item in _list(value.get("tool_calls"))],
        x=x or None,
    )


def _content(value: Any) -> tuple[str | None, str | None]:
    """Text and thinking: Mistral's reasoning models send content as a list of typed parts."""
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
            case _:  # an image or a reference: no text, so nothing is missing without it
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
        raise ValueError  # noqa: TRY004  # one way out for whatever is odd
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
    """The fields that only the upstream knows, as it sent them; empty ones say nothing."""
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
    """A part of the answer: dropping one that cannot be read would leave a hole in the text."""
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
