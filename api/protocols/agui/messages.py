"""Pure: AG-UI's messages as chat messages."""

from tickertape.api.edge.problems import Problem
from tickertape.api.protocols.chat_order import in_chat_order
from tickertape.api.protocols.file_parts import NoFormError, file_part
from tickertape.api.protocols.provider_fields import (
    fields_of_call,
    fields_of_message,
    from_metadata,
)
from tickertape.broker.provider_fields import tool_of_call
from tickertape.runtime.json_types import JsonObject

_FILE_LEFT_OUT = "[A file was left out here: this model does not take it.]"
# The media type of a part whose source has none. A model finds the format out by itself.
_VAGUE_TYPES = {"image": "image/*", "video": "video/*"}
_MEDIA = frozenset({"image", "audio", "video", "document", "binary"})


def context_message(context: list[tuple[str, str]]) -> list[JsonObject]:
    """What the page shows to the model, as one message in front of all others."""
    if not context:
        return []
    texts = [f"{description}:\n{value}" if description else value for description, value in context]
    return [{"role": "system", "content": "\n\n".join(["Context of this conversation:", *texts])}]


def chat_messages(messages: list[JsonObject]) -> list[JsonObject]:
    """The messages in OpenAI's form. Those that only the page shows are left out.

    A call without an outcome is left out, because upstreams refuse it. Raises Problem if the last
    message has a file that no model accepts. In earlier messages, a note replaces such a file.
    """
    answered = {message.get("toolCallId") for message in messages if message["role"] == "tool"}
    converted: list[JsonObject] = []
    for number, message in enumerate(messages):
        path = f"messages[{number}]" if number == len(messages) - 1 else None
        match message["role"]:
            case "user":
                content = _content(message.get("content"), path)
                converted += [{"role": "user", "content": content}] if content else []
            case "system" | "developer" as role:
                text = _text(message.get("content"))
                converted += [{"role": role, "content": text}] if text else []
            case "assistant":
                converted += _assistant(message, answered)
            case "reasoning":
                text = _text(message.get("content"))
                thought = {"role": "assistant", "content": None, "reasoning_content": text}
                converted += [thought] if text else []
            case "tool":
                converted.append(_outcome(message, path))
    return in_chat_order(converted)


def _assistant(message: JsonObject, answered: set[object]) -> list[JsonObject]:
    text = _text(message.get("content"))
    calls = [call for call in message.get("toolCalls") or [] if call["id"] in answered]
    if not text and not calls:
        return []
    fields = fields_of_message(from_metadata(message.get("metadata")))
    converted: JsonObject = {**fields, "role": "assistant", "content": text or None}
    if calls:
        # TanStack AI keeps what came with a call in the metadata of the message.
        of_calls = _inner(message.get("metadata"), "tanstack", "toolCallMetadata")
        converted["tool_calls"] = [_call(call, of_calls) for call in calls]
    return [converted]


def _call(call: JsonObject, of_calls: JsonObject) -> JsonObject:
    metadata = call.get("metadata") or of_calls.get(call["id"])
    fields = from_metadata(metadata)
    kind = "custom" if fields.get("type") == "custom" else "function"
    function = call["function"]
    tool = tool_of_call(kind, fields_of_call(fields), function["name"], function["arguments"])
    return {"id": call["id"], "type": kind} | tool


def _outcome(message: JsonObject, path: str | None) -> JsonObject:
    content = _content(message.get("content"), path) or message.get("error") or ""
    return {"role": "tool", "tool_call_id": message.get("toolCallId") or "", "content": content}


def _text(content: object) -> str:
    match content:
        case str():
            return content
        case list():
            return "".join(part["text"] for part in content if _has_text(part))
    return ""


def _has_text(part: JsonObject) -> bool:
    return part.get("type") == "text" and isinstance(part.get("text"), str)


def _content(content: object, path: str | None) -> str | list[JsonObject]:
    """A text, or parts if there are files.

    A file that no model accepts raises Problem if `path` names the message, else it is a note.
    """
    if not isinstance(content, list) or not any(part.get("type") in _MEDIA for part in content):
        return _text(content)
    parts: list[JsonObject] = []
    for number, part in enumerate(content):
        if _has_text(part) and part["text"]:
            parts.append({"type": "text", "text": part["text"]})
        elif part.get("type") in _MEDIA:
            parts.append(_file(part, path and f"{path}.content[{number}]"))
    return parts


def _file(part: JsonObject, param: str | None) -> JsonObject:
    try:
        return file_part(*_source(part))
    except NoFormError as error:
        if param is None:
            return {"type": "text", "text": _FILE_LEFT_OUT}
        raise Problem(400, "unsupported_value", f"{param}: {error}", param=param) from None


def _source(part: JsonObject) -> tuple[object, object, object]:
    """The URL, the media type and the name of a file; raises NoFormError for a provider's handle.

    Before version 1.0, a file was a `binary` part without a source.
    """
    source = part.get("source")
    if not isinstance(source, dict):
        kind = "url" if part.get("url") else "data"
        source = {**part, "type": kind, "value": part.get(kind)}
    kind = source.get("mimeType") or _VAGUE_TYPES.get(str(part.get("type")), "")
    name = _inner(part, "metadata").get("filename") or part.get("filename")
    match source:
        case {"type": "data", "value": str(value)}:
            return f"data:{kind};base64,{value}", kind, name
        case {"type": "url", "value": str(value)}:
            return value, kind, name
    raise NoFormError("send the file as data or by its URL")


def _inner(value: object, *names: str) -> JsonObject:
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}
