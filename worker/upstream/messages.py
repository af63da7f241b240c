"""Pure: messages of a request, in OpenAI's form.

Clients send back what they made of an answer. That has more than the upstream sent: a null for each
field that the answer did not have, and fields of the client. Most upstreams ignore these fields,
and some refuse the request. A malformed message is left for the upstream to refuse.
"""

from typing import Any

Message = dict[str, Any]


def without_nulls(message: Message) -> Message:
    """A copy without fields that are null. A message with tool calls keeps `content`, even if null.

    DeepSeek refuses tool calls without content:
    https://github.com/alibaba/spring-ai-alibaba/issues/4561
    """
    kept = _not_null(message)
    if calls := tool_calls_of(kept):
        kept["tool_calls"] = [_not_null(call, depth=1) for call in calls]
    if calls or "content" in message:
        kept["content"] = message.get("content")
    return kept


def tool_calls_of(message: Message) -> list[Message]:
    """The tool calls of a message; empty if it has no calls, or if they are malformed."""
    calls = message.get("tool_calls")
    if not isinstance(calls, list) or not all(isinstance(call, dict) for call in calls):
        return []
    return calls


def _not_null(fields: Message, depth: int = 0) -> Message:
    return {
        name: _not_null(value) if depth and isinstance(value, dict) else value
        for name, value in fields.items()
        if value is not None
    }
