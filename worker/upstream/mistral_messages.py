"""Pure: messages as Mistral accepts them: the fields, the form of ids, and the order.

Mistral's schema is strict. It also refuses a user message directly after the output of a tool,
which clients send after a stop, or to show an image that a tool returned.
https://github.com/BerriAI/litellm/issues/17761
"""

import hashlib
import re
from itertools import pairwise

from tickertape.worker.upstream.messages import Message, tool_calls_of

# https://docs.mistral.ai/api/: any other field of a message is refused as `extra_forbidden`.
_MISTRAL_FIELDS = {
    "system": frozenset({"role", "content"}),
    "user": frozenset({"role", "content"}),
    "assistant": frozenset({"role", "content", "tool_calls", "prefix"}),
    "tool": frozenset({"role", "content", "tool_call_id", "name"}),
}
_MISTRAL_CALL_FIELDS = frozenset({"id", "type", "function", "index"})
_MISTRAL_FUNCTION_FIELDS = frozenset({"name", "arguments"})
_SHORT_ID = re.compile(r"[a-zA-Z0-9]{9}")
_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
# Mistral would refuse an empty text, too.
_ANSWER = {"role": "assistant", "content": "I see."}
_REFUSAL = "'user' after role 'tool'"


def fit_to_mistral(message: Message) -> Message:
    """The message with only the fields that Mistral accepts, and with ids in its form.

    https://github.com/BerriAI/litellm/issues/30835, https://github.com/anomalyco/opencode/issues/1680
    """
    known = _MISTRAL_FIELDS.get(str(message.get("role")))
    if known is None:
        return message
    kept = _only(message, known)
    if calls := tool_calls_of(kept):
        kept["tool_calls"] = [_fitted_call(call) for call in calls]
    if "tool_call_id" in kept:
        kept["tool_call_id"] = short_id(str(kept["tool_call_id"]))
    return kept


def short_id(call_id: str) -> str:
    """The id of a tool call as nine letters and digits; another id is replaced by its hash."""
    if _SHORT_ID.fullmatch(call_id):
        return call_id
    number = int.from_bytes(hashlib.sha256(call_id.encode("utf-8", "replace")).digest())
    return "".join(_DIGITS[number // 62**place % 62] for place in range(9))


def with_tools_answered(messages: list[Message]) -> list[Message]:
    """The messages, with an answer added between the output of a tool and a user message."""
    ordered = messages[:1]
    for before, message in pairwise(messages):
        ordered += [_ANSWER, message] if _is_gap(before, message) else [message]
    return ordered


def is_gap_refused(refusal: str, messages: list[Message]) -> bool:
    """Whether Mistral refused the order of these messages, so that an added answer helps."""
    return _REFUSAL in refusal and any(_is_gap(*pair) for pair in pairwise(messages))


def _fitted_call(call: Message) -> Message:
    kept = _only(call, _MISTRAL_CALL_FIELDS)
    if isinstance(function := kept.get("function"), dict):
        kept["function"] = _only(function, _MISTRAL_FUNCTION_FIELDS)
    return kept | {"id": short_id(str(call.get("id", "")))}


def _only(fields: Message, names: frozenset[str]) -> Message:
    return {name: value for name, value in fields.items() if name in names}


def _is_gap(before: Message, message: Message) -> bool:
    return before.get("role") == "tool" and message.get("role") == "user"
