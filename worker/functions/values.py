"""What a function may yield, and the failure that it may raise.

A plain `str` is text of the answer, as Text is.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias


@dataclass(frozen=True, slots=True)
class Text:
    """A part of the answer's text."""

    text: str


@dataclass(frozen=True, slots=True)
class Reasoning:
    """A part of the reasoning, which clients show apart from the answer."""

    text: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """A part of the words that refuse to answer."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A whole call of a tool that the client runs. The answer then ends with `tool_calls`.

    A function that has run all of its tools by itself yields Finish("stop") as well.
    `arguments` is JSON text, or what is encoded as JSON. Without an `id`, the call gets one.
    """

    name: str
    arguments: str | Mapping[str, Any] = "{}"
    id: str | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens that the function has used. Several of them are added up."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    """Those of the prompt that the model had in its cache."""
    reasoning_tokens: int = 0
    """Those of the completion that were reasoning."""


@dataclass(frozen=True, slots=True)
class Finish:
    """Why the answer ends, in OpenAI's words. Without it, `stop`, or `tool_calls` after calls.

    `stop` after calls says that the function has run the tools: clients show the calls and run
    none, and the conversation remembers the text without the calls.
    """

    reason: str


Value: TypeAlias = str | Text | Reasoning | Refusal | ToolCall | Usage | Finish


class FunctionFailed(Exception):
    """Raise this to fail a request with a message for its caller.

    `retryable` tells clients whether the same request may succeed later. The text of any other
    exception stays in the worker, because it may quote what nobody else may see.
    """

    def __init__(self, message: str, *, retryable: bool = True) -> None:
        super().__init__(message)
        self.message = message
        self.retryable = retryable
