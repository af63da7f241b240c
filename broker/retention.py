"""Pure: how long a request and its conversation are kept after the end."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Retention:
    """The limits of one tenant, in seconds."""

    request_s: int
    conversation_s: int

    def limited(self, request_s: int | None, conversation_s: int | None) -> "Retention":
        """These limits, and not more than the given ones."""
        return Retention(
            min(self.request_s, request_s or self.request_s),
            min(self.conversation_s, conversation_s or self.conversation_s),
        )


@dataclass(frozen=True)
class Keep:
    """How long to keep one request, and its conversation; None: as the settings say.

    `conversation_s` is what the caller chose for the conversation. Without a choice, a new
    conversation is kept for `tenant_conversation_s`.
    """

    request_s: int | None = None
    conversation_s: int | None = None
    tenant_conversation_s: int | None = None
