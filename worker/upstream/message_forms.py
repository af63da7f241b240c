"""Pure: messages as an upstream with a strict schema takes them.

Clients send back what they made of an answer, and that holds more than any upstream sent: a null
for each field that the answer did not have, and fields of the client's own. Most upstreams ignore
them, and some refuse the request. What is no message at all is left for the upstream to judge.
"""

import hashlib
import re
from typing import Any

Message = dict[str, Any]

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

# Google's own word for a call whose signature is lost.
# https://ai.google.dev/gemini-api/docs/thought-signatures#faqs
_NO_SIGNATURE = {"google": {"thought_signature": "skip_thought_signature_validator"}}


def without_nulls(message: Message) -> Message:
    """A copy without fields that are null; a message with calls has a `content`, if only null.

    DeepSeek misses the content: https://github.com/alibaba/spring-ai-alibaba/issues/4561
    """
    kept = _not_null(message)
    if calls := _calls_of(kept):
        kept["tool_calls"] = [_not_null(call, depth=1) for call in calls]
    if calls or "content" in message:
        kept["content"] = message.get("content")
    return kept


def fitted_to_mistral(message: Message) -> Message:
    """The message with the fields that Mistral knows, and with ids of its own form.

    https://github.com/BerriAI/litellm/issues/30835, https://github.com/anomalyco/opencode/issues/1680
    """
    known = _MISTRAL_FIELDS.get(str(message.get("role")))
    if known is None:
        return message
    kept = _only(message, known)
    if calls := _calls_of(kept):
        kept["tool_calls"] = [_fitted_call(call) for call in calls]
    if "tool_call_id" in kept:
        kept["tool_call_id"] = short_id(str(kept["tool_call_id"]))
    return kept


def short_id(call_id: str) -> str:
    """Nine letters and digits for the id of a call: itself if it is that, else made from it."""
    if _SHORT_ID.fullmatch(call_id):
        return call_id
    number = int.from_bytes(hashlib.sha256(call_id.encode("utf-8", "replace")).digest())
    return "".join(_DIGITS[number // 62**place % 62] for place in range(9))


def with_signature(message: Message) -> Message:
    """The message with something in place of Gemini's thought signature, if its client lost that.

    Of parallel calls, only the first has one.
    """
    if not lacks_signature(message):
        return message
    calls = _calls_of(message)
    return message | {"tool_calls": [calls[0] | {"extra_content": _NO_SIGNATURE}, *calls[1:]]}


def lacks_signature(message: Message) -> bool:
    """Whether the message has calls and no signature."""
    calls = _calls_of(message)
    return bool(calls) and not any(call.get("extra_content") for call in calls)


def _calls_of(message: Message) -> list[Message]:
    calls = message.get("tool_calls")
    if not isinstance(calls, list) or not all(isinstance(call, dict) for call in calls):
        return []
    return calls


def _fitted_call(call: Message) -> Message:
    kept = _only(call, _MISTRAL_CALL_FIELDS)
    if isinstance(function := kept.get("function"), dict):
        kept["function"] = _only(function, _MISTRAL_FUNCTION_FIELDS)
    return kept | {"id": short_id(str(call.get("id", "")))}


def _only(fields: Message, names: frozenset[str]) -> Message:
    return {name: value for name, value in fields.items() if name in names}


def _not_null(fields: Message, depth: int = 0) -> Message:
    return {
        name: _not_null(value) if depth and isinstance(value, dict) else value
        for name, value in fields.items()
        if value is not None
    }
