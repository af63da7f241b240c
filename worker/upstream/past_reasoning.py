"""Pure: the reasoning of earlier answers in a request, and what a refusal teaches about it.

Clients send the reasoning of earlier answers back. Some upstreams refuse it, and some refuse
answers without it.
"""

from enum import Enum
from typing import Any

from tickertape.worker.upstream.messages import Message

_REASONING = "reasoning_content"
# Some upstreams count an empty text as missing: https://github.com/anomalyco/opencode/issues/10996
_NO_REASONING = " "
_DEMANDS = ("missing", "passed back", "is required", "must be provided")


class PastReasoning(Enum):
    """How a request treats the reasoning of earlier answers."""

    KEPT = "as it is"
    LEFT_OUT = "left out"
    DEMANDED = "added where it is missing"


def treat_reasoning(message: Message, treatment: PastReasoning) -> None:
    """Change an answer in place; messages of other roles stay as they are."""
    if message.get("role") != "assistant":
        return
    if treatment is PastReasoning.LEFT_OUT:
        message.pop(_REASONING, None)
    elif treatment is PastReasoning.DEMANDED and not message.get(_REASONING):
        message[_REASONING] = _NO_REASONING


def past_reasoning_after(refusal: str, body: dict[str, Any]) -> PastReasoning | None:
    """The treatment to try after a refusal of `body`; None if no other treatment can help.

    `refusal` is the whole answer of the upstream, as text.
    """
    if _REASONING not in refusal:
        return None
    answers = [
        message for message in body.get("messages", []) if message.get("role") == "assistant"
    ]
    with_reasoning = sum(_REASONING in message for message in answers)
    if any(word in refusal.lower() for word in _DEMANDS):
        return PastReasoning.DEMANDED if with_reasoning < len(answers) else None
    return PastReasoning.LEFT_OUT if with_reasoning else None
