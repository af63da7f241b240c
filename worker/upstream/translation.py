"""Pure: a request in the words of the upstream that it goes to.

Wires write messages in OpenAI's words, with the reasoning of earlier answers in them. Which
upstream it is, and what it takes of that, is known only here, at the last step.
"""

from enum import Enum
from typing import Any

from tickertape.worker.upstream.message_forms import fitted_to_mistral, without_nulls
from tickertape.worker.upstream.profiles import Profile

_REASONING = "reasoning_content"
# Some take an empty text for none: https://github.com/anomalyco/opencode/issues/10996
_NO_REASONING = " "
_DEMANDS = ("missing", "passed back", "is required", "must be provided")


class Reasoning(Enum):
    """What becomes of the reasoning of earlier answers in a request."""

    KEPT = "as it is"
    LEFT_OUT = "left out"
    DEMANDED = "added where it is missing"


def in_words_of(profile: Profile, payload: dict[str, Any], reasoning: Reasoning) -> dict[str, Any]:
    """The body of a chat completion request; `payload` is that of worker/prompt.py."""
    body = {name: value for name, value in payload.items() if name != "openai_params"}
    if profile.name == "openai":
        body |= payload.get("openai_params", {})
    body["messages"] = [_translated(each, profile, reasoning) for each in payload["messages"]]
    return body


def _translated(message: dict[str, Any], profile: Profile, reasoning: Reasoning) -> dict[str, Any]:
    message = without_nulls(message)
    role = message.get("role")
    if role == "developer" and not profile.takes_developer:
        message["role"] = "system"
    elif role == "assistant" and reasoning is Reasoning.LEFT_OUT:
        message.pop(_REASONING, None)
    elif role == "assistant" and reasoning is Reasoning.DEMANDED and not message.get(_REASONING):
        message[_REASONING] = _NO_REASONING
    return fitted_to_mistral(message) if profile.name == "mistral" else message


def reasoning_after(refusal: str, body: dict[str, Any]) -> Reasoning | None:
    """How to ask once more after a refusal of `body`; None when that cannot help.

    `refusal` is all that the upstream answered.
    """
    if _REASONING not in refusal:
        return None
    answers = [
        message for message in body.get("messages", []) if message.get("role") == "assistant"
    ]
    with_reasoning = sum(_REASONING in message for message in answers)
    if any(word in refusal.lower() for word in _DEMANDS):
        return Reasoning.DEMANDED if with_reasoning < len(answers) else None
    return Reasoning.LEFT_OUT if with_reasoning else None
