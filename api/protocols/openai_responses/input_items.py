"""Pure: converts the items of OpenAI's Responses to messages of a chat completion.

The input of a response and the output of an earlier response consist of items, while the upstream
accepts only messages.
"""

import contextlib

from tickertape.api.edge.problems import Problem
from tickertape.api.protocols.chat_order import in_chat_order
from tickertape.api.protocols.file_parts import NoFormError, file_part
from tickertape.api.protocols.openai import unsupported
from tickertape.api.protocols.provider_fields import fields_of_call, fields_of_message
from tickertape.broker.provider_fields import tool_of_call
from tickertape.runtime.json_types import JsonObject

_ROLES = ("user", "assistant", "system", "developer")
_TEXT_PARTS = ("input_text", "output_text", "text")
_DETAILS = ("auto", "low", "high")


def input_items(value: str | list[JsonObject]) -> list[JsonObject]:
    """The input as items. Text becomes one message of the user."""
    if isinstance(value, str):
        value = [{"role": "user", "content": value}]
    return [_item(item) for item in value]


def chat_messages(items: list[JsonObject], param: str = "input") -> list[JsonObject]:
    """The messages for items; raises Problem for an item that chat completions cannot express.

    A call that was cut off is omitted, because no client can have an output for it.
    """
    messages = [_message_of(item, f"{param}[{n}]") for n, item in enumerate(items)]
    answered = {message["tool_call_id"] for message in messages if message["role"] == "tool"}
    return in_chat_order(
        [
            message
            for message, item in zip(messages, items, strict=True)
            if not _is_cut_call(item) or item["call_id"] in answered
        ]
    )


def _item(item: JsonObject) -> JsonObject:
    if "type" not in item and "role" in item:
        item = {"type": "message", **item}
    content = item.get("content")
    if item.get("type") == "message" and isinstance(content, str):
        kind = "output_text" if item.get("role") == "assistant" else "input_text"
        item = {**item, "content": [{"type": kind, "text": content}]}
    return item


def _message_of(item: JsonObject, param: str) -> JsonObject:
    """The message for one item. `in_chat_order` joins those that belong to one answer."""
    match item.get("type"):
        case "message":
            return _message(item, param)
        case "function_call":
            return {"role": "assistant", "content": None, "tool_calls": [_call(item, param)]}
        case "function_call_output":
            output = _content(item.get("output"), f"{param}.output")
            call_id = _text(item, "call_id", param)
            return {"role": "tool", "tool_call_id": call_id, "content": output}
        case "reasoning":
            text = _reasoning(item)
            message = {"role": "assistant", "content": None, "reasoning_content": text}
            return {**fields_of_message(item.get("x")), **message}
    raise unsupported(
        f"{param}.type",
        f"{param}.type: use message, function_call, function_call_output or reasoning.",
    )


def _message(item: JsonObject, param: str) -> JsonObject:
    role = item.get("role")
    if role not in _ROLES:
        raise unsupported(f"{param}.role", f"{param}.role: use {', '.join(_ROLES)}.")
    content = _content(item.get("content"), f"{param}.content")
    if role == "assistant" and isinstance(content, list):
        # All parts of an answer are text.
        content = "".join(part.get("text", "") for part in content)
    # The upstream gets its provider fields back.
    fields = fields_of_message(item.get("x")) if role == "assistant" else {}
    return {**fields, "role": role, "content": content}


def _call(item: JsonObject, param: str) -> JsonObject:
    name, arguments = (_text(item, field, param) for field in ("name", "arguments"))
    tool = tool_of_call("function", fields_of_call(item.get("x")), name, arguments)
    return {"id": _text(item, "call_id", param), "type": "function", **tool}


def _is_cut_call(item: JsonObject) -> bool:
    is_cut = item.get("status") in ("in_progress", "incomplete")
    return is_cut and item.get("type") == "function_call"


def _reasoning(item: JsonObject) -> str:
    """The text of a reasoning item: its content, or its summary without one."""
    for parts in (item.get("content"), item.get("summary")):
        objects = (
            [part for part in parts if isinstance(part, dict)] if isinstance(parts, list) else []
        )
        texts = [part["text"] for part in objects if isinstance(part.get("text"), str)]
        if text := "".join(texts):
            return text
    return ""


def _content(content: object, param: str) -> str | list[JsonObject]:
    if isinstance(content, str):
        return content
    if not isinstance(content, list) or not all(isinstance(part, dict) for part in content):
        raise unsupported(param, f"{param}: use text or a list of parts.")
    parts = [_part(part, f"{param}[{number}]") for number, part in enumerate(content)]
    # Small upstreams accept only plain text.
    if [part["type"] for part in parts] == ["text"]:
        return str(parts[0]["text"])
    return parts


def _part(part: JsonObject, param: str) -> JsonObject:
    kind = part.get("type")
    if kind in _TEXT_PARTS:
        return {"type": "text", "text": _text(part, "text", param)}
    if kind == "refusal":
        return {"type": "text", "text": _text(part, "refusal", param)}
    if kind == "input_image" and part.get("image_url"):
        # Chat completions have fewer details.
        detail = {"detail": part["detail"]} if part.get("detail") in _DETAILS else {}
        return {
            "type": "image_url",
            "image_url": {"url": _text(part, "image_url", param), **detail},
        }
    if kind == "input_file" and part.get("file_data"):
        return _file(part, param)
    if kind == "input_audio" and part.get("input_audio"):
        return {"type": "input_audio", "input_audio": part["input_audio"]}
    raise unsupported(
        param,
        f"{param}: use input_text, input_image with image_url, input_file with file_data, "
        "or input_audio.",
    )


def _file(part: JsonObject, param: str) -> JsonObject:
    name, data = str(part.get("filename") or "file"), _text(part, "file_data", param)
    with contextlib.suppress(NoFormError):
        return file_part(data, None, name)
    # Some upstreams accept further types of files in this form.
    return {"type": "file", "file": {"filename": name, "file_data": data}}


def _text(holder: JsonObject, name: str, param: str) -> str:
    value = holder.get(name)
    if not isinstance(value, str):
        param = f"{param}.{name}"
        raise Problem(400, "invalid_value", f"{param}: text is needed", param=param)
    return value
