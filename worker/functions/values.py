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

    A function that has run all of its tools by itself yields a ToolResult for each call, or
    Finish("stop"), and the answer ends with `stop`.
    `arguments` is JSON text, or what is encoded as JSON. Without an `id`, the call gets one.
    """

    name: str
    arguments: str | Mapping[str, Any] = "{}"
    id: str | None = None


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a tool gave that the function ran: anything that JSON can hold.

    `id` is that of the call, as the ToolCall had it; without an `id`, the last call is meant. A
    call has one result. `is_error`: the tool failed, and `result` says how.
    """

    result: Any
    id: str | None = None
    is_error: bool = False


@dataclass(frozen=True, slots=True)
class Data:
    """Data for clients that know its name: a table, a chart, a state. Other clients skip it.

    `name` has 1 to 64 letters, digits, `_`, `.` and `-`. `value` is anything that JSON can hold.
    With an `id`, the value takes the place of an earlier one of this answer with this name and id.
    """

    name: str
    value: Any
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
    """Why the answer ends, in OpenAI's words.

    Without it, `stop`, or `tool_calls` if a call has no result.
    `stop` after calls says that the function has run the tools: clients show the calls and run
    none, and the conversation remembers the text without the calls.
    """

    reason: str


Value: TypeAlias = str | Text | Reasoning | Refusal | ToolCall | ToolResult | Data | Usage | Finish


class FunctionFailed(Exception):
    """Raise this to fail a request with a message for its caller.

    `retryable` tells clients whether the same request may succeed later. The text of any other
    exception stays in the worker, because it may quote what nobody else may see.
    """

    # A class of one's own that has another constructor may never set these.
    message: str = "The function failed."
    retryable: bool = True

    def __init__(self, message: str, *, retryable: bool = True) -> None:
        super().__init__(message)
        self.message = message
        self.retryable = retryable
