"""A request as the API hands it over to the broker."""

from dataclasses import dataclass, field
from typing import Any

from tickertape.broker import keys
from tickertape.broker.kinds import OnBusy, Policy
from tickertape.broker.retention import Keep
from tickertape.broker.turns import Links


@dataclass(frozen=True)
class Submission:
    """A request as the API accepted it.

    `payload` is for the worker (JSON), and `head` for readers of the request, beside its log.
    `echo` is in the log only, for the wire of the submit. `question` has the caller's new messages,
    which the conversation remembers together with `links`. `options` are shown in the list of
    conversations. `format` is the lowest format of a worker that can run the request.
    """

    tenant: str
    payload: dict[str, Any]
    head: dict[str, Any] = field(default_factory=dict)
    echo: dict[str, Any] | None = None
    question: list[dict[str, Any]] = field(default_factory=list)
    links: Links = field(default_factory=Links)
    options: dict[str, Any] = field(default_factory=dict)
    model: str | None = None
    on_interruption: Policy = "restart"
    conversation_id: str | None = None
    on_busy: OnBusy = "queue"
    idempotency_key: str | None = None
    fingerprint: str = ""
    format: int = 1
    keep: Keep = field(default_factory=Keep)


@dataclass(frozen=True)
class Submitted:
    """`is_new` is false when the idempotency key had already been used with the same body."""

    request_id: str
    is_new: bool


def conversation_key(tenant: str, conversation_id: str | None) -> str:
    """The short name of a tenant's conversation in keys; empty without one."""
    return keys.digest(tenant, conversation_id) if conversation_id is not None else ""
