"""Pure: the order of messages that Mistral demands, which others do not.

Mistral refuses a question right behind the output of a tool: one that was asked after a stop, or an
image that a tool gave back.
https://github.com/BerriAI/litellm/issues/17761
"""

from itertools import pairwise
from typing import Any

Message = dict[str, Any]

# An empty text would be refused as well.
_ANSWER = {"role": "assistant", "content": "I see."}
_REFUSAL = "'user' after role 'tool'"


def with_tools_answered(messages: list[Message]) -> list[Message]:
    """The messages with an answer between the output of a tool and a question."""
    ordered = messages[:1]
    for before, message in pairwise(messages):
        ordered += [_ANSWER, message] if _is_gap(before, message) else [message]
    return ordered


def is_gap_refused(refusal: str, messages: list[Message]) -> bool:
    """Whether such a question was refused, and an answer before it can help."""
    return _REFUSAL in refusal and any(_is_gap(*pair) for pair in pairwise(messages))


def _is_gap(before: Message, message: Message) -> bool:
    return before.get("role") == "tool" and message.get("role") == "user"
