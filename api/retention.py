"""Pure: how long a request is kept, from what its caller wants and what its tenant may have."""

from tickertape.api.edge.problems import Problem
from tickertape.broker.retention import Keep, Retention
from tickertape.runtime.settings import Settings


def limits_of_settings(settings: Settings) -> Retention:
    """The limits of a tenant without limits of its own."""
    return Retention(settings.retention_s, settings.conversation_ttl_s)


def keep_of(
    retention_s: int | None, limits: Retention, settings: Settings, *, has_conversation: bool
) -> Keep:
    """How long a request is kept; raises Problem if the caller wants more than its tenant's limit.

    A request of a conversation is kept at most as long as the conversation.
    """
    own = limits_of_settings(settings)
    request_s = None if limits.request_s == own.request_s else limits.request_s
    if not has_conversation:
        if retention_s is not None:
            _check(retention_s, limits.request_s)
        return Keep(request_s=retention_s or request_s)
    if retention_s is not None:
        check_conversation_retention(retention_s, limits)
    is_limited = limits.conversation_s != own.conversation_s
    return Keep(request_s, retention_s, limits.conversation_s if is_limited else None)


def check_conversation_retention(retention_s: int, limits: Retention) -> None:
    """Raise Problem if a conversation may not be kept for so long."""
    _check(retention_s, limits.conversation_s)


def _check(retention_s: int, limit_s: int) -> None:
    if retention_s > limit_s:
        raise Problem(
            400, "invalid_value", f"retention_s: use at most {limit_s}", param="retention_s"
        )
