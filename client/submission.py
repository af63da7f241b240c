"""Pure: what a submit sends."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias, TypedDict

Messages: TypeAlias = str | Sequence[Mapping[str, Any]]
"""The text of one message, or several messages in OpenAI's form."""


class SubmitOptions(TypedDict, total=False):
    """The options of a submit. An option that is left out has the server's default.

    `role` names a template of `client.roles()`, and `variables` fills it. `conversation_id`
    continues or starts a conversation. `parent_id` is the request that this one follows in it:
    None stands for the start of the conversation, and left out it is the latest request.
    """

    role: str
    variables: Mapping[str, str]
    model: str
    temperature: float
    top_p: float
    max_tokens: int
    conversation_id: str
    parent_id: str | None
    on_busy: Literal["queue", "reject", "replace"]
    on_interruption: Literal["restart", "continue", "fail"]
    metadata: Mapping[str, str]
    retention_s: int


def submit_body(message: Messages, options: SubmitOptions) -> dict[str, Any]:
    """The JSON of POST /chat."""
    field = "message" if isinstance(message, str) else "messages"
    return {field: message, **options}
