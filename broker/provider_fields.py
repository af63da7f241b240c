"""Pure: fields of an answer that only its upstream knows, put together from their pieces.

Gemini's `extra_content`, OpenRouter's `reasoning_details` and `images`, citations: a log keeps such
fields under `x`, as they were sent, and each wire shows them where it has room.
"""

import copy
from collections.abc import Mapping
from typing import Any

LOGPROBS = "logprobs"
"""The one field of `x` that a chunk has beside its delta, and not in it."""

_TOOLS = ("function", "custom")


def merge(into: dict[str, Any], more: dict[str, Any]) -> None:
    """Add the fields of a later piece to those of the pieces before it; `more` stays as it is.

    Lists grow, objects are merged, and anything else is replaced: a signature that is repeated in
    each piece is one signature.
    """
    for name, value in more.items():
        before = into.get(name)
        if isinstance(before, dict) and isinstance(value, dict):
            merge(before, value)
        elif isinstance(before, list) and isinstance(value, list):
            for item in value:
                _append(before, item)
        elif value is not None or before is None:
            into[name] = copy.deepcopy(value)


def without_logprobs(x: dict[str, Any] | None) -> dict[str, Any]:
    """The fields that belong to the message."""
    return {name: value for name, value in x.items() if name != LOGPROBS} if x else {}


def tool_of_call(kind: str, x: Mapping[str, Any], name: str, arguments: str) -> dict[str, Any]:
    """A call as a chat completion has it, but for its id and type; without a name if that is empty.

    Of `x`, the fields under `function` or `custom` go where they came from.
    """
    said = {"name": name} if name else {}
    tool = "custom" if kind == "custom" else "function"
    inner = x.get(tool)
    fields = {key: value for key, value in x.items() if key not in _TOOLS}
    said |= {"input" if tool == "custom" else "arguments": arguments}
    return fields | {tool: {**(inner if isinstance(inner, dict) else {}), **said}}


def _append(items: list[Any], item: Any) -> None:
    """Add an item. OpenRouter sends a block of reasoning in parts that have one index.

    https://openrouter.ai/docs/use-cases/reasoning-tokens
    """
    last: Any = items[-1] if items else None
    if not _continues(last, item):
        items.append(copy.deepcopy(item))
        return
    texts = {
        name: last[name] + item[name]
        for name in ("text", "summary")
        if isinstance(last.get(name), str) and isinstance(item.get(name), str)
    }
    merge(last, {**item, **texts})


def _continues(last: Any, item: Any) -> bool:
    if not isinstance(last, dict) or not isinstance(item, dict):
        return False
    is_reasoning = str(item.get("type")).startswith("reasoning.") and "index" in item
    return is_reasoning and all(last.get(name) == item[name] for name in ("type", "index"))
