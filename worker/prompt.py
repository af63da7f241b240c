"""Pure: the body of the upstream call, from a request's payload and its conversation's memory."""

from dataclasses import dataclass, replace
from typing import Any, Self

import msgspec

from tickertape.broker.kinds import BESIDE_PARAMS

# Most tokens are longer. In a script that the model hardly knows, a token can be a single byte.
_BYTES_PER_TOKEN = 3
# The tokens of a picture or a file do not depend on its bytes.
_BYTES_OF_ATTACHMENT = 1500 * _BYTES_PER_TOKEN
# If the request has no limit for its answer, one part in this many of the context is left for it.
_ANSWER_SHARE = 4


@dataclass(frozen=True)
class Bounds:
    """How much of a conversation the model gets, in bytes and in tokens.

    `is_assumed`: the server does not report the context size of the model.
    """

    memory_bytes: int
    context_tokens: int
    is_assumed: bool = True

    def known(self, context_tokens: int | None) -> Self:
        """The bounds with the context size that the server reports, if it does."""
        if context_tokens is None:
            return self
        return replace(self, context_tokens=context_tokens, is_assumed=False)


def build(
    payload: dict[str, Any], memory: list[list[dict[str, Any]]], bounds: Bounds
) -> dict[str, Any]:
    """The chat completion body: role template, then as much memory as fits, then the new messages.

    `memory` has one list of messages per exchange, the oldest first. The oldest exchanges are left
    out if all together exceed the memory's bytes or the model's context. A question and its answer
    stay together. The template and the new messages are never cut. Parameters that only OpenAI
    accepts stay under `openai_params`, and the tenant's key of the upstream's cache under
    `cache_key`; see worker/upstream/request_body.py and worker/upstream/cache_isolation.py.
    """
    # A caller's field with a name of ours would pass by the rules of its tenant.
    params = {n: value for n, value in payload.get("params", {}).items() if n not in BESIDE_PARAMS}
    role_messages, new_messages = payload.get("role_messages", []), payload["messages"]
    fixed_messages = [*role_messages, *new_messages]
    budget_bytes = _context_bytes(params, bounds) - sum(map(_weight, fixed_messages))
    kept = _newest(memory, budget_bytes, bounds.memory_bytes)
    apart = {name: payload[name] for name in BESIDE_PARAMS if name in payload}
    return {**params, **apart, "messages": [*role_messages, *kept, *new_messages]}


def _context_bytes(params: dict[str, Any], bounds: Bounds) -> int:
    """The bytes for all messages. An answer's limit is ignored if the context is only assumed."""
    max_tokens = params.get("max_tokens") or params.get("max_completion_tokens")
    if bounds.is_assumed or not isinstance(max_tokens, int) or max_tokens < 1:
        max_tokens = bounds.context_tokens // _ANSWER_SHARE
    return (bounds.context_tokens - max_tokens) * _BYTES_PER_TOKEN


def _newest(
    memory: list[list[dict[str, Any]]], budget_bytes: int, memory_bytes: int
) -> list[dict[str, Any]]:
    first = len(memory)
    while first > 0:
        budget_bytes -= sum(map(_weight, memory[first - 1]))
        memory_bytes -= sum(map(_size, memory[first - 1]))
        if budget_bytes < 0 or memory_bytes < 0:
            break
        first -= 1
    return [message for exchange in memory[first:] for message in exchange]


def estimated_tokens(messages: list[dict[str, Any]]) -> int:
    """An estimate of the tokens of messages, on the high side. An attachment counts as 1,500."""
    return sum(map(_weight, messages)) // _BYTES_PER_TOKEN


def _weight(message: dict[str, Any]) -> int:
    """The share of the context that a message takes, in bytes of text."""
    content = message.get("content")
    if not isinstance(content, list):
        return _size(message)
    # The upstream judges a part of another form.
    attached = [
        part for part in content if not isinstance(part, dict) or part.get("type") != "text"
    ]
    return _size(message) - sum(map(_size, attached)) + len(attached) * _BYTES_OF_ATTACHMENT


def _size(part: Any) -> int:
    return len(msgspec.json.encode(part))
