"""Pure: the body of the upstream call, from a request's payload and its conversation's memory."""

from itertools import dropwhile
from typing import Any

import msgspec

MAX_MEMORY_MESSAGES = 40
# Most tokens are longer; in a script the model knows little of, a token can be a single byte.
_BYTES_PER_TOKEN = 3
# Of the context, this part is left for the answer when the request does not say how long it may be.
_ANSWER_SHARE = 4


def build(
    payload: dict[str, Any], memory: list[dict[str, Any]], context_tokens: int | None
) -> dict[str, Any]:
    """The chat completion body: role template, then as much memory as fits, then the new messages.

    Memory is left out from its oldest message on, beyond MAX_MEMORY_MESSAGES and beyond the model's
    context (where that is known); the template and the new messages are never cut. What is for
    OpenAI alone stays apart, under `openai_params`: see worker/translation.py.
    """
    params = payload.get("params", {})
    fixed = [*payload.get("role_messages", []), *payload["messages"]]
    budget_bytes = _memory_bytes(fixed, params, context_tokens)
    kept = _from_a_question(_newest(memory[-MAX_MEMORY_MESSAGES:], budget_bytes))
    messages = [*payload.get("role_messages", []), *kept, *payload["messages"]]
    apart = {name: payload[name] for name in ("openai_params",) if name in payload}
    return {**params, **apart, "messages": messages}


def _memory_bytes(
    fixed: list[dict[str, Any]], params: dict[str, Any], context_tokens: int | None
) -> int | None:
    if context_tokens is None:
        return None
    answer_tokens = params.get("max_tokens") or context_tokens // _ANSWER_SHARE
    return (context_tokens - answer_tokens) * _BYTES_PER_TOKEN - sum(map(_size, fixed))


def _newest(memory: list[dict[str, Any]], budget_bytes: int | None) -> list[dict[str, Any]]:
    if budget_bytes is None:
        return memory
    first = len(memory)
    while first > 0:
        budget_bytes -= _size(memory[first - 1])
        if budget_bytes < 0:
            break
        first -= 1
    return memory[first:]


def _from_a_question(memory: list[dict[str, Any]]) -> list[dict[str, Any]]:
    # An answer without its question would only confuse.
    return list(dropwhile(lambda message: message.get("role") == "assistant", memory))


def _size(message: dict[str, Any]) -> int:
    return len(msgspec.json.encode(message))
