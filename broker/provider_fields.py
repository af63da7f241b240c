"""Pure: provider fields of an answer, merged from their pieces.

Examples are Gemini's `extra_content`, OpenRouter's `reasoning_details` and `images`, and citations.
A log keeps such fields under `x`, as the upstream sent them, and each wire shows them where its
format has room.
"""

import copy
from collections.abc import Mapping
from typing import Any

LOGPROBS = "logprobs"
"""The one field of `x` that stands beside the delta of a chunk, and not inside the delta."""

_TOOLS = ("function", "custom")


def merge(into: dict[str, Any], more: dict[str, Any]) -> None:
    """Merge the fields of a later piece into those of earlier pieces; `more` is not changed.

    Lists grow, objects are merged, and other values are replaced, so that a signature that each
    piece repeats stays one signature.
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
    """A call as in a chat completion, without id and type, and without an empty name.

    The fields of `x` under `function` or `custom` return to where they came from.
    """
    said = {"name": name} if name else {}
    tool = "custom" if kind == "custom" else "function"
    inner = x.get(tool)
    fields = {key: value for key, value in x.items() if key not in _TOOLS}
    said |= {"input" if tool == "custom" else "arguments": arguments}
    return fields | {tool: {**(inner if isinstance(inner, dict) else {}), **said}}


def _append(items: list[Any], item: Any) -> None:
    """Add an item, or extend the last item: OpenRouter sends parts of a block with one index.

    https://openrouter.ai/docs/use-cases/reasoning-tokens
    """
    last: Any = items[-1] if items else None
    if not _continues(last, item):
        items.append(copy.deepcopy(item))
        return
    more = dict(item)
    for name in ("text", "summary"):
        if isinstance(last.get(name), str) and isinstance(item.get(name), str):
            # A text that nothing else refers to grows in place, so that 100,000 pieces of a text do
            # not copy it as often. That is why the text leaves the object for the addition.
            text = last.pop(name)
            text += more.pop(name)
            last[name] = text
    merge(last, more)


def _continues(last: Any, item: Any) -> bool:
    if not isinstance(last, dict) or not isinstance(item, dict):
        return False
    is_reasoning = str(item.get("type")).startswith("reasoning.") and "index" in item
    return is_reasoning and all(last.get(name) == item[name] for name in ("type", "index"))
