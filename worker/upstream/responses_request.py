"""Pure: the body of a chat completion as the body of a background response of OpenAI.

https://developers.openai.com/api/docs/guides/background
"""

from typing import Any

Json = dict[str, Any]

# Both APIs have these under the same name.
_SAME = (
    "model", "temperature", "top_p", "parallel_tool_calls", "metadata", "service_tier", "user",
    "prompt_cache_key", "prompt_cache_retention", "safety_identifier", "stream",
)  # fmt: skip
_TRANSLATED = frozenset(
    {
        "messages", "max_tokens", "max_completion_tokens", "tools", "tool_choice",
        "response_format", "reasoning_effort", "verbosity", "stream_options",
    }
)  # fmt: skip
# What these ask for is usual in any response.
_USUAL = {"n": 1, "logprobs": False, "store": False, "frequency_penalty": 0, "presence_penalty": 0}
_ROLES = {"system", "developer", "user", "assistant"}
_FILE = ("file_data", "filename", "file_id")


def can_be_response(body: Json) -> bool:
    """Whether a response can be asked for all that this body asks for.

    What has another form than OpenAI's is for the upstream to refuse, as a chat completion.
    """
    try:
        return _loses_nothing(body) and bool(response_body(body))
    except (KeyError, TypeError, AttributeError):
        return False


def response_body(body: Json) -> Json:
    """The body of a background response; check `can_be_response` first."""
    sent = {name: body[name] for name in _SAME if body.get(name) is not None}
    sent["input"] = [item for message in body["messages"] for item in _items_of(message)]
    limit = body.get("max_completion_tokens") or body.get("max_tokens")
    text: Json = {}
    if (form := body.get("response_format")) is not None:
        text["format"] = {"type": form["type"], **form.get("json_schema", {})}
    if (verbosity := body.get("verbosity")) is not None:
        text["verbosity"] = verbosity
    effort = body.get("reasoning_effort")
    more = {
        "max_output_tokens": limit,
        "text": text,
        "reasoning": {"effort": effort} if effort is not None else None,
        "tools": [{"type": "function", **tool["function"]} for tool in body.get("tools") or ()],
        "tool_choice": _choice_of(body.get("tool_choice")),
    }
    sent |= {name: value for name, value in more.items() if value}
    # Only what is stored can be read again.
    return {**sent, "background": True, "store": True, "stream": True}


def _loses_nothing(body: Json) -> bool:
    for name, value in body.items():
        is_known = name in _SAME or name in _TRANSLATED or value is None
        if not is_known and _USUAL.get(name, body) != value:
            return False
    return (
        all(map(_is_plain, body["messages"]))
        and all(tool.get("type") == "function" for tool in body.get("tools") or ())
        and _has_plain_choice(body.get("tool_choice"))
    )


def _is_plain(message: Json) -> bool:
    role, content = message.get("role"), message.get("content")
    if role == "tool":
        return isinstance(content, str)
    if role not in _ROLES or message.get("audio") or message.get("function_call"):
        return False
    calls = message.get("tool_calls") or ()
    kinds = {"text", "image_url", "file"} if role == "user" else {"text"}
    return all(call.get("type", "function") == "function" for call in calls) and (
        content is None
        or isinstance(content, str)
        or all(isinstance(part, dict) and part.get("type") in kinds for part in content)
    )


def _has_plain_choice(choice: Any) -> bool:
    return not isinstance(choice, dict) or choice.get("type") == "function"


def _choice_of(choice: Any) -> Any:
    return {"type": "function", **choice["function"]} if isinstance(choice, dict) else choice


def _items_of(message: Json) -> list[Json]:
    """The items of one message."""
    role, content = message["role"], message.get("content")
    if role == "tool":
        call_id = message.get("tool_call_id")
        return [{"type": "function_call_output", "call_id": call_id, "output": content}]
    items: list[Json] = []
    if content:
        parts = content if isinstance(content, str) else [_part(role, each) for each in content]
        items.append({"role": role, "content": parts})
    for call in message.get("tool_calls") or ():
        function = {name: call["function"].get(name) or "" for name in ("name", "arguments")}
        items.append({"type": "function_call", "call_id": call.get("id"), **function})
    return items


def _part(role: str, part: Json) -> Json:
    match part["type"]:
        case "image_url":
            image = part["image_url"]
            given = image if isinstance(image, dict) else {"url": image}
            detail = {"detail": given["detail"]} if given.get("detail") else {}
            return {"type": "input_image", "image_url": given["url"], **detail}
        case "file":
            file = {name: part["file"][name] for name in _FILE if part["file"].get(name)}
            return {"type": "input_file", **file}
    kind = "output_text" if role == "assistant" else "input_text"
    return {"type": kind, "text": part["text"]}
