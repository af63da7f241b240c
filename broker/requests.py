"""The verbs of the API: submit, read, list, cancel, erase."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

import msgspec

from tickertape.broker import codec, keys, request_ids
from tickertape.broker.connections import Connections
from tickertape.broker.errors import (
    ConversationBusy,
    IdempotencyConflict,
    NotFinished,
    QueueFull,
    RequestMissing,
    TenantLimitReached,
)
from tickertape.broker.kinds import (
    TERMINALS,
    OnBusy,
    Policy,
    RequestState,
    Status,
    Verdict,
)
from tickertape.broker.lua import Scripts
from tickertape.broker.summaries import encode_summary
from tickertape.broker.titles import title_of
from tickertape.broker.turns import Links
from tickertape.runtime.settings import Settings

_POSITION_TENANTS = 1000


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


@dataclass(frozen=True)
class Submitted:
    """`is_new` is false when the idempotency key had already been used with the same body."""

    request_id: str
    is_new: bool


@dataclass(frozen=True)
class Record:
    """The hash of a request, which stands beside its log. Held and delayed requests wait."""

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
    usage: dict[str, dict[str, Any]]

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

    async def submit(self, submission: Submission, request_id: str | None = None) -> Submitted:
        """Accept a request: when this returns, the request is in Redis and will end in a terminal.

        Raises IdempotencyConflict, QueueFull, TenantLimitReached, ConversationBusy (nothing was
        written), or Unavailable (unknown: submit again with the same idempotency key or id).
        """
        s = submission
        conversation = conversation_key(s.tenant, s.conversation_id)
        idem = (
            keys.digest(s.tenant, s.conversation_id or "", s.idempotency_key)
            if s.idempotency_key
            else ""
        )
        partition = keys.choose_partition(self._settings.partitions, conversation or idem or None)
        request_id = request_id or request_ids.new_request_id(partition)
        queued = {"v": codec.VERSION, **s.head}
        # Scripts read the policy from the hash, a worker from the payload.
        payload = {**s.payload, "on_interruption": s.on_interruption}
        if s.conversation_id is not None:
            queued["messages"] = s.question
        if s.echo is not None:
            queued["echo"] = s.echo
        word, details = await self._scripts.verdict(
            "submit",
            [self._keys.ring(request_ids.partition_of(request_id))],
            request_id=request_id,
            fingerprint=s.fingerprint,
            tenant=s.tenant,
            payload=msgspec.json.encode(payload),
            policy=s.on_interruption,
            idempotency=idem,
            conversation=conversation,
            on_busy=s.on_busy,
            queue_limit=self._settings.share(self._settings.queue_limit),
            tenant_limit=self._settings.share(self._settings.tenant_limit),
            queue_bytes=self._settings.share(self._settings.queue_bytes),
            retention_s=self._settings.retention_s,
            conversation_ttl_s=self._settings.conversation_ttl_s,
            model=msgspec.json.encode(s.model) if s.model else "",
            queued=codec.encode_data("queued", queued),
            head=msgspec.json.encode(s.head),
            question=msgspec.json.encode(s.question) if conversation else "",
            links=s.links.encode(),
            conversation_turns=self._settings.conversation_turns,
            title=title_of(s.question) if conversation else "",
            summary=encode_summary(s.conversation_id, s.options)
            if s.conversation_id is not None
            else "",
            format=s.format,
        )
        return _submitted(word, details[0].decode())

    async def get(self, request_id: str, tenant: str) -> Record:
        """The record of a request; raises RequestMissing, also for a request of another tenant."""
        partition = request_ids.parse_partition(request_id)
        if partition is None or partition >= self._settings.partitions:
            raise RequestMissing
        stored = await self._connections.ask("HGETALL", self._keys.request(request_id))
        if not stored or stored[b"tenant"].decode() != tenant:
            raise RequestMissing
        return _record(request_id, stored)

    async def cancel(self, request_id: str, tenant: str) -> str:
        """End a request in any state; returns its status: `cancelled`, or how it ended earlier.

        When this returns, the request has ended, and its log gets no more entries. Raises
        RequestMissing, Unavailable.
        """
        word, details = await self._scripts.verdict(
            "cancel",
            [self._ring(request_id)],
            request_id=request_id,
            tenant=tenant,
            retention_s=self._settings.retention_s,
            conversation_ttl_s=self._settings.conversation_ttl_s,
        )
        if word == "MISSING":
            raise RequestMissing
        return details[0].decode()

    async def erase(self, request_id: str, tenant: str) -> None:
        """Erase a request that is over; raises RequestMissing, NotFinished, Unavailable."""
        await self.get(request_id, tenant)
        word, _ = await self._scripts.verdict(
            "erase", [self._ring(request_id)], request_id=request_id, tenant=tenant
        )
        # MISSING after the check above means that a repeated call has already erased the request.
        if word == "ACTIVE":
            raise NotFinished

    async def position(self, request_id: str, tenant: str) -> int | None:
        """How many requests will be claimed earlier; None when the request does not wait."""
        ahead = int(
            await self._scripts.call(
                "position",
                [self._ring(request_id)],
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
        for partition in range(self._settings.partitions):
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

    def _ring(self, request_id: str) -> str:
        partition = request_ids.parse_partition(request_id)
        if partition is None or partition >= self._settings.partitions:
            raise RequestMissing
        return self._keys.ring(partition)


def conversation_key(tenant: str, conversation_id: str | None) -> str:
    """The short name of a tenant's conversation in keys; empty without one."""
    return keys.digest(tenant, conversation_id) if conversation_id is not None else ""


def _submitted(verdict: Verdict, detail: str) -> Submitted:
    match verdict:
        case "OK" | "EXISTS":
            return Submitted(detail, is_new=verdict == "OK")
        case "CONFLICT":
            raise IdempotencyConflict
        case "FULL":
            raise QueueFull
        case "TENANT_LIMIT":
            raise TenantLimitReached
        case _:
            raise ConversationBusy(detail)


def _record(request_id: str, stored: dict[bytes, bytes]) -> Record:
    waiting, ended = stored.get(b"waiting"), stored.get(b"ended")
    usage = {
        name.decode().removeprefix("usage:"): msgspec.json.decode(value)
        for name, value in stored.items()
        if name.startswith(b"usage:")
    }
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
        usage=usage,
    )
