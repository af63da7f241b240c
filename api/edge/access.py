"""Recognizes callers by their keys, and ends the streams of callers that may read no more.

`run` polls the version of the records in Redis. Without any key, the API is open, and it closes by
itself as soon as Redis holds a key.
"""

import asyncio
import time

import structlog

from tickertape.api.edge.caller import Call, Caller
from tickertape.api.edge.failed_tries import FailedTries
from tickertape.api.edge.listed_keys import PERMIT_PREFIX, CurrentKeys, Keys
from tickertape.api.edge.permits import Permits
from tickertape.api.edge.problems import Problem
from tickertape.api.edge.stored_keys import StoredKeys
from tickertape.broker.access import AccessRecords
from tickertape.broker.errors import Unavailable
from tickertape.broker.task_faults import TaskFaults
from tickertape.runtime.settings import Settings

logger = structlog.get_logger("api")

OPEN_TENANT = "public"
POLL_INTERVAL_S = 0.5


class Access:
    """The authenticator of the settings and of the keys in Redis."""

    def __init__(self, settings: Settings, listed: CurrentKeys | None) -> None:
        secret = None if settings.key_secret is None else settings.key_secret.get_secret_value()
        self._listed = listed
        self._known_list: Keys | None = None
        self._permits = Permits()
        self._stored = StoredKeys(self._permits, secret)
        self._tries = FailedTries()
        self._records: AccessRecords | None = None
        self._version: int | None = None
        self._is_closed = listed is not None or settings.require_keys

    @property
    def is_closed(self) -> bool:
        """Whether callers need a key."""
        return self._is_closed

    async def __call__(self, call: Call) -> Caller:
        """The caller by its key. Raises Problem 401, and 503 while a key cannot be looked up."""
        if not self._is_closed:
            return Caller(tenant=OPEN_TENANT)
        scheme, _, key = call.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not key.strip():
            raise unauthorized("An API key is required: send it as `Authorization: Bearer <key>`.")
        caller = self._listed_caller(key.strip()) or await self._stored_caller(key.strip())
        if caller is None:
            await self._tries.refuse(call.address, self._unknown_key(key.strip()))
            raise AssertionError("a refusal raises")
        return caller

    def _listed_caller(self, key: str) -> Caller | None:
        return self._listed and self._listed().find(key, self._permits.get)

    async def _stored_caller(self, key: str) -> Caller | None:
        if self._version == 0:
            return None
        try:
            return await self._stored.find(key)
        except Unavailable as error:
            raise Problem(503, "unavailable", str(error), headers={"Retry-After": "1"}) from None

    def _unknown_key(self, key: str) -> Problem:
        return unauthorized(
            "This is the hash of an API key: send the key itself. (A key that is itself 64 hex "
            "digits has to be listed by its SHA-256.)"
            if self._listed and self._listed().lists_as_hash(key)
            else "This API key is unknown."
        )

    async def refresh(self, records: AccessRecords) -> None:
        """Learn what has changed in Redis and in the list of keys; raises Unavailable."""
        self._permits.end_expired(int(time.time() * 1000))
        if self._listed and (keys := self._listed()) is not self._known_list:
            self._known_list = keys
            names = self._permits.named(PERMIT_PREFIX)
            self._permits.end(
                name for name in names if not keys.has(name.removeprefix(PERMIT_PREFIX))
            )
        version = await records.version()
        if version != self._version:
            self._stored.attach(records)
            self._stored.forget()
            await self._stored.recheck()
            self._version = version
        if version and not self._is_closed:
            logger.warning("the API is closed now, because Redis holds keys")
            self._is_closed = True
        await self._stored.write_uses()

    async def run(self, records: AccessRecords, faults: TaskFaults, interval_s: float) -> None:
        """Refresh until cancelled."""
        while True:
            await asyncio.sleep(interval_s)
            with faults.contain("access"):
                await self.refresh(records)


def unauthorized(message: str) -> Problem:
    """The refusal of an unknown caller."""
    return Problem(401, "invalid_api_key", message, headers={"WWW-Authenticate": "Bearer"})
