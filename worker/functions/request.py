"""The request as a function gets it."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request for a function. Tests can make one with nothing but `messages`.

    `messages` are all messages in OpenAI's form: those of the role template, `history` and `input`.
    `history` are those of the conversation's earlier turns that fit into the memory's limits, the
    oldest first. `input` are the caller's. `params` are the parameters that the caller set, under
    OpenAI's names. `user` is a name for the end user that never changes and says nothing about
    them; None if the key stands for the tenant itself. `state` and `forwarded_props` are those of a
    page that uses AG-UI, as it sent them; None and empty otherwise.
    """

    messages: list[dict[str, Any]]
    input: list[dict[str, Any]] = field(default_factory=list)
    history: list[dict[str, Any]] = field(default_factory=list)
    id: str = ""
    model: str = ""
    params: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, str] = field(default_factory=dict)
    tenant: str = ""
    user: str | None = None
    conversation_id: str | None = None
    state: Any = None
    forwarded_props: dict[str, Any] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The text of the last message of a user; empty without one."""
        for message in reversed(self.messages):
            if message.get("role") == "user":
                return _text_of(message.get("content"))
        return ""


def _text_of(content: object) -> str:
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    texts = [part.get("text") for part in parts if isinstance(part, dict)]
    return "".join(text for text in texts if isinstance(text, str))
