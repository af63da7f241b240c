"""Pure: the items of OpenAI's Responses as messages of a chat completion.

A response's input and an earlier response's output are both made of items, and both go to an
upstream that knows only messages.
"""

from typing import Any

from api.openai_bodies import unsupported
from api.problems import Problem

_ROLES = ("user", "assistant", "system", "developer")
_TEXT_PARTS = ("input_text", "output_text", "text")


def input_items(given: str | list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The input as items, whichever way it was written."""
    if isinstance(given, str):
        given = [{"role": "user", "content": given}]
    return [_item(item) for item in given]


def chat_messages(items: list[dict[str, Any]], param: str = "input") -> list[dict[str, Any]]:
    """The messages for items; raises Problem for what no chat completion has a word for."""
    messages: list[dict[str, Any]] = []
    for number, item in enumerate(items):
        _add(messages, item, f"{param}[{number}]")
    return messages


def _item(item: dict[str, Any]) -> dict[str, Any]:
    if "type" not in item and "role" in item:
        item = {"type": "message", **item}
    content = item.get("content")
    if item.get("type") == "message" and isinstance(content, str):
        kind = "output_text" if item.get("role") == "assistant" else "input_text"
        item = {**item, "content": [{"type": kind, "text": content}]}
    return item


def _add(messages: list[dict[str, Any]], item: dict[str, Any], param: str) -> None:
    match item.get("type"):
        case "message":
            messages.append(_message(item, param))
        case "function_call":
            _add_call(messages, item, param)
        case "function_call_output":
            output = _content(item.get("output"), f"{param}.output")
            call_id = _text(item, "call_id", param)
            messages.append({"role": "tool", "tool_call_id": call_id, "content": output})
        case "reasoning":
            # Chat completions take no reasoning back.
            pass
        case _:
            raise unsupported(
                f"{param}.type",
                f"{param}.type: use message, function_call, function_call_output or reasoning.",
            )


def _message(item: dict[str, Any], param: str) -> dict[str, Any]:
    role = item.get("role")
    if role not in _ROLES:
        raise unsupported(f"{param}.role", f"{param}.role: use {', '.join(_ROLES)}.")
    content = _content(item.get("content"), f"{param}.content")
    if role == "assistant" and isinstance(content, list):
        # Of an answer all parts are text.
        content = "".join(part.get("text", "") for part in content)
    return {"role": role, "content": content}


def _add_call(messages: list[dict[str, Any]], item: dict[str, Any], param: str) -> None:
    """Calls that were made together are one message, and belong to the text before them."""
    function = {name: _text(item, name, param) for name in ("name", "arguments")}
    call = {"id": _text(item, "call_id", param), "type": "function", "function": function}
    if messages and messages[-1]["role"] == "assistant":
        messages[-1].setdefault("tool_calls", []).append(call)
    else:
        messages.append({"role": "assistant", "content": None, "tool_calls": [call]})


def _content(content: Any, param: str) -> str | list[dict[str, Any]]:
    if isinstance(content, str):
        return content
    if not isinstance(content, list) or not all(isinstance(part, dict) for part in content):
        raise unsupported(param, f"{param}: use text or a list of parts.")
    parts = [_part(part, f"{param}[{number}]") for number, part in enumerate(content)]
    # Small servers take nothing but plain text.
    if [part["type"] for part in parts] == ["text"]:
        return str(parts[0]["text"])
    return parts


def _part(part: dict[str, Any], param: str) -> dict[str, Any]:
    kind = part.get("type")
    if kind in _TEXT_PARTS:
        return {"type": "text", "text": _text(part, "text", param)}
    if kind == "refusal":
        return {"type": "text", "text": _text(part, "refusal", param)}
    if kind == "input_image" and part.get("image_url"):
        detail = {"detail": part["detail"]} if part.get("detail") else {}
        return {
            "type": "image_url",
            "image_url": {"url": _text(part, "image_url", param), **detail},
        }
    if kind == "input_file" and part.get("file_data"):
        file = {"filename": str(part.get("filename") or "file"), "file_data": part["file_data"]}
        return {"type": "file", "file": file}
    if kind == "input_audio" and part.get("input_audio"):
        return {"type": "input_audio", "input_audio": part["input_audio"]}
    raise unsupported(
        param,
        f"{param}: use input_text, input_image with image_url, input_file with file_data, "
        "or input_audio.",
    )


def _text(holder: dict[str, Any], name: str, param: str) -> str:
    value = holder.get(name)
    if not isinstance(value, str):
        param = f"{param}.{name}"
        raise Problem(400, "invalid_value", f"{param}: text is needed", param=param)
    return value
