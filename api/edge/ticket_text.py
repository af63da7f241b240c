"""Pure: tickets as text. A ticket has claims (JSON) and their HMAC-SHA-256, in base64url."""

import base64
import binascii
import hashlib
import hmac
from typing import Literal

import msgspec

PREFIX = "tk1_"
_MOST_CHARS = 4096

Right = Literal["read", "write", "cancel"]
ObjectKind = Literal["chat", "conversation"]


class Claims(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a ticket says. A renewed ticket is valid for `ttl_ms` from then on, and is otherwise
    the same.

    No renewal goes beyond `ends_ms`. `models` limits which models a `write` may name.
    """

    ticket_id: str
    tenant: str
    key_id: str | None = None
    user: str | None = None
    models: tuple[str, ...] | None = None
    kind: ObjectKind
    object_id: str
    right: Right
    issued_ms: int
    ttl_ms: int
    expires_ms: int
    ends_ms: int


def sign(claims: Claims, secret: bytes) -> str:
    """The ticket for these claims."""
    body = msgspec.json.encode(claims)
    return f"{PREFIX}{_encode(body)}.{_encode(_mac(body, secret))}"


def verify(ticket: str, secret: bytes) -> Claims | None:
    """The claims of a ticket that was signed with this secret; None for any other text."""
    body, dot, mac = ticket.removeprefix(PREFIX).partition(".")
    if not dot or not ticket.startswith(PREFIX) or len(ticket) > _MOST_CHARS:
        return None
    try:
        raw = _decode(body)
        # The text is compared, because other texts (with another padding) lead to the same bytes.
        if body != _encode(raw) or not hmac.compare_digest(
            mac.encode(), _encode(_mac(raw, secret)).encode()
        ):
            return None
        return msgspec.json.decode(raw, type=Claims)
    except (binascii.Error, ValueError, msgspec.DecodeError):
        return None


def _mac(body: bytes, secret: bytes) -> bytes:
    return hmac.new(secret, b"tickertape ticket 1\n" + body, hashlib.sha256).digest()


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
