"""Pure: the body of a request, as the upstream's family accepts it.

Protocols write messages in OpenAI's form. The family of the upstream is known only here, at the
last step before the call.
"""

from typing import Any

from tickertape.broker.kinds import BESIDE_PARAMS
from tickertape.worker.upstream.messages import Message, without_nulls
from tickertape.worker.upstream.mistral_messages import fit_to_mistral
from tickertape.worker.upstream.past_reasoning import PastReasoning, treat_reasoning
from tickertape.worker.upstream.profiles import Profile


def build_body(
    profile: Profile, payload: dict[str, Any], reasoning: PastReasoning
) -> dict[str, Any]:
    """The body of a chat completion request; `payload` is the result of worker/prompt.py."""
    body = {name: value for name, value in payload.items() if name not in BESIDE_PARAMS}
    if profile.name == "openai":
        body |= payload.get("openai_params", {})
    body["messages"] = [
        _fitted_message(message, profile, reasoning) for message in payload["messages"]
    ]
    return body


def _fitted_message(message: Message, profile: Profile, reasoning: PastReasoning) -> Message:
    message = without_nulls(message)
    if message.get("role") == "developer" and not profile.takes_developer:
        message["role"] = "system"
    treat_reasoning(message, reasoning)
    return fit_to_mistral(message) if profile.name == "mistral" else message
