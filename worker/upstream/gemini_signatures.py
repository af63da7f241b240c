"""Pure: Gemini's thought signatures, which a request has to return with its tool calls.

Clients of other protocols lose them. Gemini then refuses the request, unless a placeholder stands
in place of the signature.
"""

from tickertape.worker.upstream.messages import Message, tool_calls_of

# The placeholder that Google documents for a lost signature.
# https://ai.google.dev/gemini-api/docs/thought-signatures#faqs
_NO_SIGNATURE = {"google": {"thought_signature": "skip_thought_signature_validator"}}


def with_placeholder_signature(message: Message) -> Message:
    """The message with a placeholder signature, if it has tool calls and no signature.

    Of parallel calls, only the first has a signature.
    """
    if not lacks_signature(message):
        return message
    calls = tool_calls_of(message)
    return message | {"tool_calls": [calls[0] | {"extra_content": _NO_SIGNATURE}, *calls[1:]]}


def lacks_signature(message: Message) -> bool:
    """Whether the message has tool calls and no signature."""
    calls = tool_calls_of(message)
    return bool(calls) and not any(call.get("extra_content") for call in calls)
