"""Tickets: rights to one request or one conversation, for a while, without a key.

A ticket is signed, so that every process can check it. Revocations are in Redis. A renewed ticket
keeps its id, so that revoking one ticket revokes those that it was renewed to.
"""

import secrets
import time
from collections import deque
from collections.abc import Callable, Sequence

import msgspec

from tickertape.api.edge.caller import Caller, CallScope, Only, Unrecognized
from tickertape.api.edge.permits import Permits
from tickertape.api.edge.problems import Problem
from tickertape.api.edge.ticket_text import Claims, Right, sign, verify
from tickertape.api.fanout.permit import Permit
from tickertape.broker.access import (
    TICKET_LIFE_MS,
    AccessRecords,
    member_of_key,
    member_of_object,
    member_of_ticket,
)
from tickertape.broker.keys import digest
from tickertape.broker.principals import principal_of

_PERMIT_PREFIX = "ticket:"
_SECRET_READ_EVERY_MS = 1000
_CHECKED_AT_ONCE = 200
# Of a tenant, by one process.
_MOST_REVOCATIONS, _REVOCATIONS_WITHIN_MS = 60, 60_000
# A client has several chances to receive a new ticket before the old one expires.
_RENEWALS_IN_A_LIFE = 3
_SCOPES: dict[Right, frozenset[CallScope]] = {
    "read": frozenset({"read"}),
    "write": frozenset({"read", "submit"}),
    "cancel": frozenset({"read", "cancel"}),
}
NEEDED: dict[Right, CallScope] = {"read": "read", "write": "submit", "cancel": "cancel"}
"""The scope that a caller needs for issuing a ticket with a right."""


class TicketPermit(Permit):
    """The streams that are open by one ticket or by those that it was renewed to."""

    claims: Claims
    renew_at_ms: int = 0


class Tickets:
    """Issues, checks and revokes tickets. `attach` gives it the records that it needs.

    `still_grants` is false for a ticket whose key could not issue it now.
    """

    def __init__(
        self,
        permits: Permits,
        secrets_: Sequence[str],
        still_grants: Callable[[Claims], bool],
        *,
        now_ms: Callable[[], int] = lambda: int(time.time() * 1000),
    ) -> None:
        self._permits = permits
        self.use_secrets(secrets_)
        self._still_grants = still_grants
        self._revocations: dict[str, deque[int]] = {}
        self._now_ms = now_ms
        self._records: AccessRecords | None = None
        self._secret: bytes | None = None
        self._secret_read_ms = 0

    def use_secrets(self, secrets_: Sequence[str]) -> None:
        """Sign with the first of these from now on, and accept what any of them signed.

        Without any, the secret is the one in Redis.
        """
        self._own_secrets = tuple(secret.encode() for secret in secrets_)

    def attach(self, records: AccessRecords) -> None:
        """Use these records from now on."""
        self._records = records

    async def issue(
        self, caller: Caller, only: Only, right: Right, *, ttl_s: int, renewable_s: int
    ) -> tuple[str, Claims]:
        """A ticket for an object of the caller, whose existence was checked.

        Raises Problem for a right that the caller does not have, and Unavailable.
        """
        caller.require(NEEDED[right])
        now_ms = self._now_ms()
        ends_ms = now_ms + max(ttl_s, renewable_s) * 1000
        if caller.permit is not None and caller.permit.ends_ms is not None:
            ends_ms = min(ends_ms, caller.permit.ends_ms)
        claims = Claims(
            ticket_id=secrets.token_urlsafe(12),
            tenant=caller.tenant,
            key_id=caller.key_id,
            user=caller.user,
            models=None if caller.models is None else tuple(sorted(caller.models)),
            kind=only.kind,
            object_id=only.object_id,
            right=right,
            issued_ms=now_ms,
            ttl_ms=ttl_s * 1000,
            expires_ms=min(now_ms + ttl_s * 1000, ends_ms),
            ends_ms=ends_ms,
        )
        return sign(claims, await self._current_secret()), claims

    async def find(self, ticket: str) -> Caller:
        """The caller of a ticket; raises Problem 401, and Unavailable."""
        claims = await self._claims(ticket)
        if claims is None:
            raise _invalid("This ticket is not valid.")
        if claims.expires_ms <= self._now_ms():
            raise _invalid("This ticket has expired: get a new one.")
        if (await self._revoked([claims]))[0]:
            raise _invalid("This ticket was revoked.")
        name = _PERMIT_PREFIX + claims.ticket_id
        permit = self._permits.get_as(TicketPermit, name, claims.ends_ms)
        permit.claims = claims
        permit.renew_at_ms = permit.renew_at_ms or self._now_ms() + _pause_ms(claims)
        return Caller(
            tenant=claims.tenant,
            key_id=claims.key_id,
            user=claims.user,
            scopes=_SCOPES[claims.right],
            models=None if claims.models is None else frozenset(claims.models),
            only=Only(claims.kind, claims.object_id),
            permit=permit,
        )

    async def revoke(self, caller: Caller, ticket: str) -> None:
        """Revoke a ticket of the caller's tenant and user; raises Problem 404, Unavailable."""
        claims = await self._claims(ticket)
        if claims is None or (claims.tenant, claims.user) != (caller.tenant, caller.user):
            raise Problem(404, "not_found", "There is no such ticket.", param="ticket")
        self._note_revocation(caller.tenant)
        await self._store().revoke_tickets(member_of_ticket(claims.ticket_id), claims.ends_ms)

    async def revoke_of(self, caller: Caller, only: Only) -> None:
        """Revoke all tickets of an object that have been issued until now; raises Unavailable."""
        self._note_revocation(caller.tenant)
        member = member_of_object(digest(caller.principal, only.kind, only.object_id))
        await self._store().revoke_tickets(member, self._now_ms() + TICKET_LIFE_MS)

    def _note_revocation(self, tenant: str) -> None:
        """Raise Problem 429 beyond a limit: each is kept for days and read by all processes."""
        now_ms = self._now_ms()
        times_ms = self._revocations.setdefault(tenant, deque(maxlen=_MOST_REVOCATIONS))
        if len(times_ms) == _MOST_REVOCATIONS and now_ms - times_ms[0] < _REVOCATIONS_WITHIN_MS:
            raise Problem(
                429,
                "too_many_revocations",
                f"Revoke at most {_MOST_REVOCATIONS} times a minute.",
                headers={"Retry-After": "60"},
            )
        times_ms.append(now_ms)

    async def recheck(self) -> None:
        """End the streams of tickets that are revoked; raises Unavailable."""
        # Also those whose streams are about to open.
        permits = self._permits.of(TicketPermit)
        for start in range(0, len(permits), _CHECKED_AT_ONCE):
            some = permits[start : start + _CHECKED_AT_ONCE]
            revoked = await self._revoked([permit.claims for permit in some])
            for permit, is_revoked in zip(some, revoked, strict=True):
                if is_revoked:
                    permit.end()

    async def renew(self) -> None:
        """Send new tickets on the open streams whose time has come; raises Unavailable."""
        now_ms = self._now_ms()
        for permit in self._open():
            claims = permit.claims
            if permit.renew_at_ms > now_ms or claims.expires_ms >= claims.ends_ms:
                continue
            expires_ms = min(now_ms + claims.ttl_ms, claims.ends_ms)
            claims = msgspec.structs.replace(claims, expires_ms=expires_ms)
            permit.claims, permit.renew_at_ms = claims, now_ms + _pause_ms(claims)
            permit.tell(ticket_event(sign(claims, await self._current_secret()), claims))

    def _open(self) -> list[TicketPermit]:
        return [each for each in self._permits.of(TicketPermit) if each.is_used]

    async def _claims(self, ticket: str) -> Claims | None:
        claims = _verified(ticket, await self._valid_secrets())
        is_old = self._now_ms() - self._secret_read_ms > _SECRET_READ_EVERY_MS
        if claims is None and is_old and not self._own_secrets:
            # Redis may have lost the secret, and another process may have made a new one.
            self._secret = None
            claims = _verified(ticket, await self._valid_secrets())
        return claims

    async def _current_secret(self) -> bytes:
        return (await self._valid_secrets())[0]

    async def _valid_secrets(self) -> Sequence[bytes]:
        if self._own_secrets:
            return self._own_secrets
        if self._secret is None:
            self._secret_read_ms = self._now_ms()
            self._secret = await self._store().ticket_secret()
        return (self._secret,)

    async def _revoked(self, tickets: Sequence[Claims]) -> list[bool]:
        members = [member for claims in tickets for member in _members(claims)]
        found = await self._store().revoked(members)
        return [
            self._is_revoked(claims, found[3 * number : 3 * number + 3])
            for number, claims in enumerate(tickets)
        ]

    def _is_revoked(self, claims: Claims, until_ms: Sequence[int | None]) -> bool:
        of_ticket, of_key, of_object = until_ms
        # The id of a key is never used again, so its time does not matter: it is of another clock.
        if of_ticket is not None or (claims.key_id is not None and of_key is not None):
            return True
        if claims.key_id is not None and not self._still_grants(claims):
            return True
        return of_object is not None and claims.issued_ms <= of_object - TICKET_LIFE_MS

    def _store(self) -> AccessRecords:
        if self._records is None:
            raise Problem(503, "unavailable", "The server has not reached Redis yet.")
        return self._records


def ticket_event(ticket: str, claims: Claims) -> bytes:
    """The event that carries a new ticket to a client of an open stream."""
    data = {"ticket": ticket, "expires_ms": claims.expires_ms, "ends_ms": claims.ends_ms}
    return b"event: ticket\ndata: %b\n\n" % msgspec.json.encode(data)


def _verified(ticket: str, valid: Sequence[bytes]) -> Claims | None:
    return next((claims for secret in valid if (claims := verify(ticket, secret))), None)


def _members(claims: Claims) -> list[str]:
    principal = principal_of(claims.tenant, claims.user)
    return [
        member_of_ticket(claims.ticket_id),
        member_of_key(claims.key_id or ""),
        member_of_object(digest(principal, claims.kind, claims.object_id)),
    ]


def _pause_ms(claims: Claims) -> int:
    return claims.ttl_ms // _RENEWALS_IN_A_LIFE


def _invalid(message: str) -> Unrecognized:
    return Unrecognized("invalid_ticket", message, "Ticket")
