"""What the API answers, as typed records. Fields that this version does not know are ignored."""

from typing import Any

import msgspec


class _Record(msgspec.Struct, frozen=True, kw_only=True):
    pass


class Submitted(_Record, frozen=True, kw_only=True):
    """An accepted request."""

    request_id: str
    status: str = "queued"
    conversation_id: str | None = None


class Failure(_Record, frozen=True, kw_only=True):
    """Why a request failed."""

    code: str
    message: str
    retryable: bool = False


class Request(_Record, frozen=True, kw_only=True):
    """The present state of a request. `text` is None in a list. Times are Unix seconds."""

    request_id: str
    status: str
    role: str | None = None
    model: str | None = None
    n: int = 0
    created_at: float = 0.0
    ended_at: float | None = None
    conversation_id: str | None = None
    metadata: dict[str, str] | None = None
    text: str | None = None
    cursor: str | None = None
    finish_reason: str | None = None
    usage: dict[str, Any] | None = None
    error: Failure | None = None
    reasoning: str | None = None
    refusal: str | None = None
    tool_calls: list[dict[str, Any]] | None = None
    tool_results: list[dict[str, Any]] | None = None
    data: list[dict[str, Any]] | None = None
    queue_position: int | None = None


class RequestPage(_Record, frozen=True, kw_only=True):
    """Requests, newest first. `after` gets the next page, None at the end."""

    requests: list[Request]
    after: str | None = None


class ConversationSummary(_Record, frozen=True, kw_only=True):
    """A conversation in a list. Times are Unix seconds."""

    conversation_id: str
    title: str | None = None
    created_at: float | None = None
    updated_at: float | None = None
    turns: int = 0
    active_request_id: str | None = None
    role: str | None = None
    model: str | None = None
    temperature: float | None = None
    variables: dict[str, str] | None = None


class ConversationPage(_Record, frozen=True, kw_only=True):
    """Conversations, newest first. `after` gets the next page, None at the end."""

    conversations: list[ConversationSummary]
    after: str | None = None


class Turn(_Record, frozen=True, kw_only=True):
    """A question and its answer. `status` is None while the request is active."""

    request_id: str
    asked: list[dict[str, Any]] = []
    answered: str | None = None
    status: str | None = None
    parent_id: str | None = None
    tool_calls: list[dict[str, Any]] | None = None


class Conversation(_Record, frozen=True, kw_only=True):
    """A conversation with its turns, oldest first. `before` gets the page in front of a page."""

    conversation_id: str
    turns: list[Turn] = []
    active_request_id: str | None = None
    title: str | None = None
    role: str | None = None
    model: str | None = None
    before: str | None = None


class ListedModel(_Record, frozen=True, kw_only=True):
    """A model, or a role by the name `role:NAME`."""

    id: str


class ListedModels(_Record, frozen=True, kw_only=True):
    """The models that a server lists."""

    data: list[ListedModel]


class Role(_Record, frozen=True, kw_only=True):
    """A role. `variables` maps each name to its default; `messages` is empty in a list."""

    name: str
    description: str = ""
    model_defaults: dict[str, Any] = {}
    variables: dict[str, str] = {}
    messages: list[dict[str, str]] = []


class ListedRoles(_Record, frozen=True, kw_only=True):
    """The roles of a server."""

    roles: list[Role]


class Answered(_Record, frozen=True, kw_only=True):
    """A complete answer."""

    request_id: str
    text: str
    reasoning: str = ""
    model: str | None = None
    finish_reason: str | None = None
    usage: dict[str, Any] | None = None
