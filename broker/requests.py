"""The verbs of the API: submit, read, list, cancel, erase."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, cast

import msgspec

from tickertape.broker import request_ids
from tickertape.broker.connections import Connections
from tickertape.broker.errors import (
    NotFinished,
    RequestMissing,
)
from tickertape.broker.former_primary import never_from_a_former_primary
from tickertape.broker.kinds import (
    TERMINALS,
    RequestState,
    Status,
)
from tickertape.broker.lua import Scripts
from tickertape.broker.new_requests import SHORT_BYTES, NewRequest, NewRequests
from tickertape.broker.outbox import has_history
from tickertape.broker.pools import UPSTREAM
from tickertape.broker.submission import Submission, Submitted
from tickertape.broker.submitter import Submitter, name_of_run
from tickertape.runtime.settings import Settings

_POSITION_TENANTS = 1000
# The hash also has the prompt, of up to 20 MB, so the fields that readers need are named.
_FIELDS = (
    "tenant", "state", "attempt", "seq", "n", "created", "ended", "head", "waiting", "prev",
    "bytes", "output_bytes", "trace", "pool",
)  # fmt: skip
# A hash with such a prompt is read whole.
_SMALL_BYTES = 65_536


@dataclass(frozen=True)
class Record:
    """The hash of a request, which stands beside its log. Held and delayed requests wait.

    `usage` is what each attempt has used, if `get_with_usage` read the record. `trace` is the
    context of the trace that the request belongs to, and `pool` the function that answers it.
    """

    request_id: str
    tenant: str
    state: RequestState
    attempt: int
    seq: int
    n: int
    created_ms: int
    ended_ms: int | None
    head: dict[str, Any]
    waiting: dict[str, Any] | None
    usage: dict[str, dict[str, Any]] = field(default_factory=dict)
    # About as large as the log.
    size_bytes: int = field(default=0, compare=False)
    trace: str = ""
    pool: str = UPSTREAM

    @property
    def status(self) -> Status:
        """The state as clients see it."""
        match self.state:
            case "held" | "delayed":
                return "queued"
            case status:
                return status

    @property
    def is_over(self) -> bool:
        """Whether the terminal is written."""
        return self.state in TERMINALS

    @property
    def is_short(self) -> bool:
        """Whether the log may be read behind its subscription."""
        return not self.is_over and self.size_bytes < SHORT_BYTES


class Cancelled(NamedTuple):
    """The status of a request after a cancel: `cancelled`, or how it ended earlier.

    `is_new`: this call ended the request.
    """

    status: str
    is_new: bool


class Listed(NamedTuple):
    """A row in the list of a tenant's requests; `record` is None when the request has expired."""

    created_ms: int
    request_id: str
    record: Record | None


class Requests:
    """Submits, reads, lists, cancels and erases requests; each call checks the tenant."""

    def __init__(self, connections: Connections, settings: Settings) -> None:
        self._connections = connections
        self._keys = connections.keys
        self._settings = settings
        self._scripts = Scripts(connections.commands)
        self._partitions = connections.partitions
        self._submitter = Submitter(connections, settings)
        self._new = NewRequests()

    async def submit(self, submission: Submission, request_id: str | None = None) -> Submitted:
        """Accept a request; see `Submitter.submit`."""
        submitted = await self._submitter.submit(submission, request_id)
        if submitted.is_new:
            s, request_id = submission, submitted.request_id
            self._new.note(NewRequest(request_id, s.tenant, s.encoded.size, s.trace, s.pool))
        return submitted

    def find_new(self, request_id: str, tenant: str) -> NewRequest | None:
        """What this process knows of a request that it has just submitted."""
        return self._new.find(request_id, tenant)

    def is_new_and_short(self, request_id: str) -> bool:
        """Whether this process has just submitted the request, whose log is short."""
        return self._new.is_short(request_id)

    @never_from_a_former_primary
    async def get(self, request_id: str, tenant: str) -> Record:
        """The record of a request; raises RequestMissing, also for a request of another tenant."""
        return _record(request_id, await self._fields(request_id, tenant))

    @never_from_a_former_primary
    async def get_with_usage(self, request_id: str, tenant: str) -> Record:
        """As `get`, with what the attempts have used.

        While a request has a large prompt, only its last two attempts are looked up.
        """
        stored = await self._fields(request_id, tenant)
        record = _record(request_id, stored)
        if not record.n:
            return record
        key = self._keys.request(request_id)
        is_small = int(stored.get(b"bytes", _SMALL_BYTES)) < _SMALL_BYTES
        if is_small or not await self._connections.ask_small("HEXISTS", key, "payload"):
            return replace(record, usage=_usage(await self._connections.ask("HGETALL", key)))
        attempts = [stored[b"attempt"], stored.get(b"prev", b"").partition(b"-")[0]]
        names = [b"usage:" + attempt for attempt in attempts]
        found = dict(
            zip(names, await self._connections.ask_small("HMGET", key, *names), strict=True)
        )
        return replace(record, usage=_usage({name: used for name, used in found.items() if used}))

    async def _fields(self, request_id: str, tenant: str) -> dict[bytes, bytes]:
        await self._ring(request_id)
        key = self._keys.request(request_id)
        values = await self._connections.ask_small("HMGET", key, *_FIELDS)
        stored = {
            name.encode(): value for name, value in zip(_FIELDS, values, strict=True) if value
        }
        if b"tenant" not in stored or stored[b"tenant"].decode() != tenant:
            raise RequestMissing
        return stored

    @never_from_a_former_primary
    async def cancel(self, request_id: str, tenant: str) -> Cancelled:
        """End a request in any state.

        When this returns, the request has ended, and its log gets no more entries. Raises
        RequestMissing, Unavailable.
        """
        word, details = await self._scripts.verdict(
            "cancel",
            [await self._ring(request_id)],
            request_id=request_id,
            tenant=tenant,
            retention_s=self._settings.retention_s,
            conversation_ttl_s=self._settings.conversation_ttl_s,
        )
        if word == "MISSING":
            raise RequestMissing
        return Cancelled(details[0].decode(), is_new=word == "OK")

    async def erase(self, request_id: str, tenant: str) -> None:
        """Erase a request that is over; raises RequestMissing, NotFinished, Unavailable."""
        await self.get(request_id, tenant)
        word, _ = await self._scripts.verdict(
            "erase",
            [await self._ring(request_id)],
            request_id=request_id,
            tenant=tenant,
            has_history=has_history(self._settings),
        )
        # MISSING after the check above means that a repeated call has already erased the request.
        if word == "ACTIVE":
            raise NotFinished

    @never_from_a_former_primary
    async def find_run(self, tenant: str, run_id: str) -> Record:
        """The request that was submitted as this run; raises RequestMissing.

        A partition chooses a run by its conversation, which the caller may not know.
        """
        name = name_of_run(tenant, run_id)
        partitions = range(self._partitions.served)
        found = await self._connections.ask_all(
            [("GET", self._keys.idempotency(partition, name)) for partition in partitions]
        )
        stored = next((value for value in found if value), None)
        if stored is None:
            raise RequestMissing("There is no such run (it may have expired).")
        _, _, request_id = stored.decode().partition("|")
        return _record(request_id, await self._fields(request_id, tenant))

    async def position(self, request_id: str, tenant: str) -> int | None:
        """How many requests will be claimed earlier; None when the request does not wait."""
        ahead = int(
            await self._scripts.call(
                "position",
                [await self._ring(request_id)],
                request_id=request_id,
                tenant=tenant,
                max_tenants=_POSITION_TENANTS,
            )
        )
        return None if ahead < 0 else ahead

    async def newest(self, tenant: str, before_ms: int | None = None) -> AsyncIterator[Listed]:
        """The tenant's requests, newest first, created before a time.

        Expired requests are included, because each costs a call to Redis and the caller has to
        limit these calls.
        """
        found: list[tuple[int, str]] = []
        for partition in range(self._partitions.served):
            found += await self._page_ids(partition, tenant, before_ms)
        for created_ms, request_id in sorted(found, reverse=True):
            try:
                yield Listed(created_ms, request_id, await self.get(request_id, tenant))
            except RequestMissing:
                yield Listed(created_ms, request_id, None)

    async def _page_ids(
        self, partition: int, tenant: str, before_ms: int | None
    ) -> list[tuple[int, str]]:
        newest = "+inf" if before_ms is None else f"({before_ms}"
        row = await self._connections.ask(
            "ZREVRANGEBYSCORE", self._keys.index(partition, tenant), newest, "-inf", "WITHSCORES"
        )
        return [
            (int(score), member.decode()) for member, score in zip(row[::2], row[1::2], strict=True)
        ]

    async def _ring(self, request_id: str) -> str:
        partition = request_ids.parse_partition(request_id)
        if partition is None or not await self._partitions.serves(partition):
            raise RequestMissing
        return self._keys.ring(partition)


def _record(request_id: str, stored: dict[bytes, bytes]) -> Record:
    waiting, ended = stored.get(b"waiting"), stored.get(b"ended")
    return Record(
        request_id=request_id,
        tenant=stored[b"tenant"].decode(),
        state=cast("RequestState", stored[b"state"].decode()),
        attempt=int(stored[b"attempt"]),
        seq=int(stored[b"seq"]),
        n=int(stored[b"n"]),
        created_ms=int(stored[b"created"]),
        ended_ms=int(ended) if ended else None,
        head=msgspec.json.decode(stored[b"head"]),
        waiting=msgspec.json.decode(waiting) if waiting else None,
        size_bytes=int(stored.get(b"bytes", 0)) + int(stored.get(b"output_bytes", 0)),
        trace=stored.get(b"trace", b"").decode(),
        pool=stored.get(b"pool", b"").decode(),
    )


def _usage(stored: dict[bytes, bytes]) -> dict[str, dict[str, Any]]:
    return {
        name.decode().removeprefix("usage:"): msgspec.json.decode(value)
        for name, value in stored.items()
        if name.startswith(b"usage:")
    }
