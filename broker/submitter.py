"""Submits requests: finds the partition of each, and routes it again when the partitions change."""

from typing import NamedTuple

import msgspec

from tickertape.broker import keys, request_ids
from tickertape.broker.connections import Connections
from tickertape.broker.errors import (
    ConversationBusy,
    IdempotencyConflict,
    KeptBytesReached,
    QueueFull,
    RateReached,
    TenantBytesReached,
    Unavailable,
)
from tickertape.broker.homes import Home, Homes
from tickertape.broker.kept_bytes import KeptBytes
from tickertape.broker.kinds import Verdict
from tickertape.broker.lua import Scripts
from tickertape.broker.outbox import named_consumers
from tickertape.broker.partition_map import PartitionMap
from tickertape.broker.queue_shares import QueueBounds, QueueShares
from tickertape.broker.rates import RateRest, encode_limits, read_rests, refusal_of
from tickertape.broker.repartition import Repartition
from tickertape.broker.seats import SeatLimits, Seats, home_of, too_many_requests
from tickertape.broker.short_outage import ShortOutage
from tickertape.broker.submission import Submission, Submitted, conversation_key
from tickertape.broker.summaries import encode_summary
from tickertape.runtime.settings import Settings

# How often a submit is routed again while the partitions change.
_MOST_ROUTES = 20


class Submitter:
    """Submits requests, within the limits of the tenant and of the queue."""

    def __init__(self, connections: Connections, settings: Settings) -> None:
        self._keys = connections.keys
        self._settings = settings
        self._scripts = Scripts(connections.commands)
        self._partitions = connections.partitions
        self._homes = Homes(connections)
        self._seats = Seats(connections)
        self._shares = QueueShares(connections, settings)
        self._kept = KeptBytes(connections)
        self._repartition = Repartition(connections)
        self._outage = ShortOutage()
        self._outbox = named_consumers(settings)

    async def submit(self, submission: Submission, request_id: str | None = None) -> Submitted:
        """Accept a request: when this returns, the request is in Redis and will end in a terminal.

        Raises IdempotencyConflict, QueueFull, TenantLimitReached, ConversationBusy (nothing was
        written), or Unavailable (unknown: submit again with the same idempotency key or id). Waits
        out a short outage of Redis first.
        """
        sent: dict[int, str] = {}
        return await self._outage.sit_out(lambda: self._route(submission, request_id, sent))

    async def _route(
        self, s: Submission, request_id: str | None, sent: dict[int, str]
    ) -> Submitted:
        """Submit where the request belongs.

        `sent` has the id that was sent to a partition without an answer. A repeated submit uses
        the same id there, so that it finds its request, and goes nowhere else.
        """
        names = _names(s)
        for _ in range(_MOST_ROUTES):
            # One map for all steps: this process may learn a newer one meanwhile.
            present = self._partitions.map
            home = await self._homes.of_submit(
                present, names.conversation, names.idempotency, near=s.near
            )
            if names.tries and not s.near:
                home = Home(present.homes(names.tries)[0])
            if sent and home.partition not in sent:
                break
            new_id = request_id or request_ids.new_request_id(home.partition)
            id_ = sent.setdefault(home.partition, new_id)
            reply = await self._submit_as(id_, s, names, present, home)
            sent.clear()
            if reply.word == "STALE":
                await self._repartition.catch_up()
            elif reply.word != "ELSEWHERE":
                return _submitted(reply)
        raise Unavailable("The partitions are being changed.")

    async def _submit_as(
        self, request_id: str, s: Submission, names: "_Names", present: PartitionMap, home: Home
    ) -> "_Reply":
        """Submit with a seat of the tenant; without one, only an earlier submit is found."""
        limits = SeatLimits(s.tenant_limit or self._settings.tenant_limit, s.user_limit)
        seat = await self._seats.take(present, s.tenant, request_id, limits, s.rates)
        kept_limit = await self._kept.bound(present, home.partition, s.tenant, s.kept_limit)
        bounds = _Bounds(seat.limit, self._shares.share(present, s.tenant), kept_limit)
        reply = await self._call(request_id, s, names, present, home, bounds)
        if reply.word in {"FULL", "TENANT_BYTES"}:
            wider = await self._shares.beyond_share(
                present, home.partition, s.encoded.size, s.tenant
            )
            if wider is not None:
                bounds = bounds._replace(queue=wider)
                reply = await self._call(request_id, s, names, present, home, bounds)
        if reply.word == "KEPT":
            refusal = await self._kept.refusal(
                present, s.tenant, size=s.encoded.size, limit=s.kept_limit or 0
            )
            reply = reply._replace(refusal=refusal)
        if seat.limit and reply.detail != request_id:
            await self._seats.give_back(present, s.tenant, request_id, limits, s.rates)
        if reply.word == "TENANT_LIMIT" and seat.refusal is None:
            raise too_many_requests(limits, whose=reply.detail)
        if seat.refusal is not None and reply.word == "TENANT_LIMIT":
            raise seat.refusal
        return reply._replace(rests=seat.rests) if seat.rests else reply

    async def _call(
        self,
        request_id: str,
        s: Submission,
        names: "_Names",
        present: PartitionMap,
        home: Home,
        bounds: "_Bounds",
    ) -> "_Reply":
        # With several partitions, the home of the tenant has counted them with the seat.
        limits, is_counted_here = encode_limits(s.rates), present.served == 1
        home_of_tenant = home_of(present, s.tenant)
        is_home = is_counted_here or home_of_tenant == request_ids.partition_of(request_id)
        word, details = await self._scripts.verdict(
            "submit",
            [self._keys.ring(request_ids.partition_of(request_id))],
            request_id=request_id,
            fingerprint=s.fingerprint if s.run_id is None else names.conversation,
            tenant=s.tenant,
            payload=s.encoded.payload,
            policy=s.on_interruption,
            idempotency=names.idempotency,
            conversation=names.conversation,
            on_busy=s.on_busy,
            queue_limit=bounds.queue.requests,
            tenant_limit=bounds.tenant_limit,
            user_limit=s.user_limit or "",
            queue_bytes=bounds.queue.bytes,
            tenant_bytes=bounds.queue.tenant_bytes,
            kept_limit="" if bounds.kept is None else bounds.kept,
            weight=s.weight,
            rates=limits.rates if is_counted_here else b"",
            settled=limits.settled,
            home="" if is_home else home_of_tenant,
            input_tokens=s.input_tokens,
            tries=names.tries,
            is_retry=int(s.tries is not None and names.tries != "" and s.tries.is_retry),
            retention_s=self._settings.retention_s,
            conversation_ttl_s=self._settings.conversation_ttl_s,
            model=msgspec.json.encode(s.model) if s.model else "",
            queued=s.encoded.queued,
            head=msgspec.json.encode(s.head),
            question=s.encoded.question,
            links=s.links.encode(),
            conversation_turns=self._settings.conversation_turns,
            title=s.encoded.title,
            summary=encode_summary(s.conversation_id, s.options)
            if s.conversation_id is not None
            else "",
            format=s.needed_format,
            epoch=present.epoch,
            must_be_known=int(home.must_be_known),
            keep_s=s.keep.request_s or "",
            conversation_keep_s=s.keep.conversation_s or "",
            tenant_keep_s=s.keep.tenant_conversation_s or "",
            trace=s.trace,
            pool=s.pool,
            outbox=self._outbox,
        )
        more = details[1] if len(details) > 1 else b""
        rests = read_rests(s.rates, more) if word == "OK" else ()
        refusal = refusal_of(s.rates, more) if word == "RATE" else None
        return _Reply(word, details[0].decode(), rests, refusal)


class _Bounds(NamedTuple):
    """What the partition of a submit compares: requests of the tenant, the queue, kept bytes."""

    tenant_limit: int
    queue: QueueBounds
    kept: int | None


class _Names(NamedTuple):
    """The names of a submission in keys; empty without one."""

    conversation: str
    idempotency: str
    tries: str


def _names(s: Submission) -> _Names:
    idempotency = s.idempotency_key and keys.digest(
        s.tenant, s.conversation_id or "", s.idempotency_key
    )
    if s.run_id is not None:
        idempotency = name_of_run(s.tenant, s.run_id)
    conversation = conversation_key(s.tenant, s.conversation_id)
    tries = s.tries.name if s.tries and not (conversation or idempotency) else ""
    return _Names(conversation, idempotency or "", tries)


def name_of_run(tenant: str, run_id: str) -> str:
    """The idempotency key of a run.

    The conversation is no part of the key, because a client that joins a run may not know it. No
    header has a space, so that no key of a caller is this one.
    """
    return keys.digest(tenant, "", f"run {run_id}")


class _Reply(NamedTuple):
    """What a submit came to; `detail` is an id, or empty."""

    word: Verdict
    detail: str
    rests: tuple[RateRest, ...] = ()
    refusal: RateReached | KeptBytesReached | None = None


def _submitted(reply: _Reply) -> Submitted:
    if reply.refusal is not None:
        raise reply.refusal
    match reply.word:
        case "OK" | "EXISTS":
            return Submitted(reply.detail, is_new=reply.word == "OK", rests=reply.rests)
        case "CONFLICT":
            raise IdempotencyConflict
        case "FULL":
            raise QueueFull
        case "TENANT_BYTES":
            raise TenantBytesReached
        case _:
            raise ConversationBusy(reply.detail)
