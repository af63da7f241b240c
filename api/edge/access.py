"""Recognizes callers by their keys, and ends the streams of callers that may read no more.

`run` polls the version of the records in Redis. Without any key, the API is open, and it closes by
itself as soon as Redis holds a key.
"""

import asyncio
import time
from collections.abc import Callable, Sequence

import structlog

from tickertape.api.edge.audit import audit_of
from tickertape.api.edge.caller import EVERYBODY, Authenticator, Call, Caller, Unrecognized
from tickertape.api.edge.failed_tries import FailedTries
from tickertape.api.edge.listed_keys import (
    LISTED_ID,
    PERMIT_PREFIX,
    CurrentKeys,
    KeyFile,
    Keys,
)
from tickertape.api.edge.permits import Permits
from tickertape.api.edge.problems import Problem
from tickertape.api.edge.stored_keys import StoredKeys
from tickertape.api.edge.ticket_text import Claims
from tickertape.api.edge.tickets import NEEDED, Tickets
from tickertape.api.edge.user_tokens import UserTokens
from tickertape.broker.access import AccessRecords
from tickertape.broker.errors import SettingsInvalid, Unavailable
from tickertape.broker.task_faults import TaskFaults
from tickertape.runtime import api_key
from tickertape.runtime.secret_watch import SecretWatch, Use
from tickertape.runtime.settings import Settings
from tickertape.runtime.signing_secrets import secrets_in, secrets_of
from tickertape.runtime.wait import wait_at_most

logger = structlog.get_logger("api")

POLL_INTERVAL_S = 0.5
START_WAIT_S = 1.0
_STREAM, _TICKET = "/stream", "ticket"
_USER = "x-tickertape-user"
_MOST_USER_CHARS = 256


class Access:
    """The authenticator of the settings and of the keys in Redis."""

    def __init__(
        self,
        settings: Settings,
        listed: CurrentKeys | None,
        authenticator: Authenticator | None = None,
        *,
        start_wait_s: float = START_WAIT_S,
    ) -> None:
        self._listed = listed
        self._known_list: Keys | None = None
        self._permits = Permits()
        self._authenticator = authenticator
        self._stored = StoredKeys(self._permits, secrets_of(settings.key_secret))
        self.tickets = Tickets(
            self._permits, secrets_of(settings.ticket_secret), self._still_grants
        )
        self._tokens = (
            None if settings.jwt_jwks_url is None else UserTokens(settings, self._permits)
        )
        self._tries = FailedTries()
        self.audit = audit_of(settings.audit_log, self._is_listed_key, settings.root_path)
        self._version: int | None = None
        self._has_version = asyncio.Event()
        self._start_wait_s = start_wait_s
        self._is_closed = authenticator is not None or settings.is_closed

    @property
    def is_closed(self) -> bool:
        """Whether callers need a key."""
        return self._is_closed

    async def __call__(self, call: Call) -> Caller:
        """The caller by its ticket or key.

        Raises Problem 401 for an unknown caller, and 503 while Redis cannot be asked.
        """
        if not self._is_closed:
            return EVERYBODY
        try:
            return await self._recognize(call)
        except Unavailable as error:
            raise Problem(503, "unavailable", str(error), headers={"Retry-After": "1"}) from None
        except Unrecognized as problem:
            await self._tries.refuse(call.address, problem)
            raise

    async def _recognize(self, call: Call) -> Caller:
        scheme, _, text = (call.header(b"authorization") or "").partition(" ")
        scheme, text = scheme.lower(), text.strip()
        if not scheme and call.method == "GET" and call.path.endswith(_STREAM):
            # Of all that a browser sends by itself, EventSource chooses the address only.
            scheme, text = "ticket", call.query.get(_TICKET, "")
        if scheme == "ticket" and text:
            return await self.tickets.find(text)
        if self._authenticator is not None:
            return await self._authenticator(call)
        if scheme != "bearer" or not text:
            # Not an `Unrecognized` error, because a call without any key is not a wrong try.
            raise Problem(
                401,
                "invalid_api_key",
                "An API key is required: send it as `Authorization: Bearer <key>`.",
                headers={"WWW-Authenticate": "Bearer"},
            )
        caller = self._listed_caller(text) or await self._stored_caller(text)
        if caller is not None:
            return _on_behalf(caller, call.header(_USER.encode()))
        if self._tokens is not None and (caller := await self._tokens.find(text)) is not None:
            return caller
        raise self._unknown_key(text)

    def _listed_caller(self, key: str) -> Caller | None:
        return None if self._listed is None else self._listed().find(key, self._permits.get)

    async def _stored_caller(self, key: str) -> Caller | None:
        if self._version == 0 or not api_key.is_key(key):
            return None
        if self._version is None and not await wait_at_most(self._has_version, self._start_wait_s):
            raise Unavailable
        return await self._stored.find(key)

    def _still_grants(self, claims: Claims) -> bool:
        """False for a ticket of a key that was taken out of the list, or may do less now."""
        key_id = claims.key_id or ""
        if not key_id.startswith(LISTED_ID):
            return True
        needed = NEEDED[claims.right]
        return self._listed is not None and self._listed().grants(
            key_id, claims.tenant, needed, claims.models
        )

    def _unknown_key(self, key: str) -> Problem:
        return Unrecognized(
            "invalid_api_key",
            "This is the hash of an API key: send the key itself. (A key that is itself 64 hex "
            "digits has to be listed by its SHA-256.)"
            if self._listed and self._listed().lists_as_hash(key)
            else "This API key is unknown.",
        )

    def _is_listed_key(self, text: str) -> bool:
        return self._listed is not None and self._listed().find(text) is not None

    def watch(self, files: SecretWatch) -> None:
        """Have secrets replaced when their files change."""
        files.on_change("TICKERTAPE_KEY_SECRET", _user_of(self._stored.use_secrets))
        files.on_change("TICKERTAPE_TICKET_SECRET", _user_of(self.tickets.use_secrets))
        if isinstance(listed := self._listed, KeyFile):
            files.note("TICKERTAPE_API_KEYS", lambda: listed.is_refused)

    def close(self) -> None:
        """Close the audit log."""
        if self.audit is not None:
            self.audit.close()

    async def refresh(self, records: AccessRecords) -> None:
        """Learn what has changed in Redis and in the list of keys; raises Unavailable."""
        self._stored.attach(records)
        self.tickets.attach(records)
        self._permits.end_expired(int(time.time() * 1000))
        if self._listed and (keys := self._listed()) is not self._known_list:
            names = self._permits.named(PERMIT_PREFIX)
            await self.tickets.recheck()
            before, self._known_list = self._known_list, keys
            self._permits.end(
                name
                for name in names
                if keys.has_changed(name.removeprefix(PERMIT_PREFIX), since=before)
            )
        version = await records.version()
        if version != self._version:
            self._stored.forget()
            await self._stored.recheck()
            await self.tickets.recheck()
            # Revoked tickets raise the version, too.
            if not self._is_closed and await records.hold_keys():
                logger.warning("the API is closed now, because Redis holds keys")
                self._is_closed = True
            self._version = version
            self._has_version.set()
        await self.tickets.renew()
        await self._stored.move()
        await self._stored.write_uses()

    async def run(self, records: AccessRecords, faults: TaskFaults, interval_s: float) -> None:
        """Refresh until cancelled."""
        while True:
            await asyncio.sleep(interval_s)
            with faults.contain("access"):
                await self.refresh(records)


def _on_behalf(caller: Caller, user: str | None) -> Caller:
    """The caller that a tenant's own key acts for: one of the tenant's users, or the tenant."""
    if user is None:
        return caller
    try:
        # The bytes of the header are UTF-8, as the claims of a token are, and were read as Latin-1.
        user = user.encode("latin-1").decode("utf-8")
    except UnicodeError:
        raise Problem(400, "invalid_value", f"{_USER}: use UTF-8") from None
    if not 1 <= len(user) <= _MOST_USER_CHARS:
        raise Problem(400, "invalid_value", f"{_USER}: use 1 to {_MOST_USER_CHARS} characters")
    return caller.acting_for(user)


def _user_of(use_secrets: Callable[[Sequence[str]], None]) -> Use:
    async def use(text: str) -> None:
        try:
            secrets = secrets_in(text)
        except ValueError as error:
            raise SettingsInvalid(str(error)) from None
        use_secrets(secrets)

    return use
