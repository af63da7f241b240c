"""Submits requests: finds the partition of each, and routes it again when the partitions change."""

from typing import NamedTuple

import msgspec

from tickertape.broker import codec, keys, request_ids
from tickertape.broker.connections import Connections
from tickertape.broker.errors import (
    ConversationBusy,
    IdempotencyConflict,
    QueueFull,
    TenantLimitReached,
    Unavailable,
)
from tickertape.broker.homes import Home, Homes
from tickertape.broker.kinds import Verdict
from tickertape.broker.lua import Scripts
from tickertape.broker.partition_map import PartitionMap
from tickertape.broker.queue_shares import QueueBounds, QueueShares
from tickertape.broker.repartition import Repartition
from tickertape.broker.seats import Seats
from tickertape.broker.submission import Submission, Submitted, conversation_key
from tickertape.broker.summaries import encode_summary
from tickertape.broker.titles import title_of
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
        self._repartition = Repartition(connections)

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
        encoded = _encode(s, conversation, idem)
        for _ in range(_MOST_ROUTES):
            # One map for all steps: this process may learn a newer one meanwhile.
            present = self._partitions.map
            home = await self._homes.of_submit(present, conversation, idem)
            id_ = request_id or request_ids.new_request_id(home.partition)
            word, detail = await self._submit_as(id_, s, encoded, present, home)
            if word == "STALE":
                await self._repartition.catch_up()
            elif word != "ELSEWHERE":
                return _submitted(word, detail)
        raise Unavailable("The partitions are being changed.")

    async def _submit_as(
        self, request_id: str, s: Submission, encoded: "_Encoded", present: PartitionMap, home: Home
    ) -> tuple[Verdict, str]:
        """Submit with a seat of the tenant; without one, only an earlier submit is found."""
        limit = await self._seats.take(present, s.tenant, request_id, self._settings.tenant_limit)
        share = self._shares.share(present)
        word, detail = await self._call(request_id, s, encoded, present, home, limit, share)
        if word == "FULL":
            bounds = await self._shares.beyond_share(present, home.partition, encoded.size)
            if bounds is not None:
                word, detail = await self._call(
                    request_id, s, encoded, present, home, limit, bounds
                )
        if limit and detail != request_id:
            await self._seats.give_back(present, s.tenant, request_id)
        return word, detail

    async def _call(
        self,
        request_id: str,
        s: Submission,
        encoded: "_Encoded",
        present: PartitionMap,
        home: Home,
        tenant_limit: int,
        bounds: QueueBounds,
    ) -> tuple[Verdict, str]:
        word, details = await self._scripts.verdict(
            "submit",
            [self._keys.ring(request_ids.partition_of(request_id))],
            request_id=request_id,
            fingerprint=s.fingerprint,
            tenant=s.tenant,
            payload=encoded.payload,
            policy=s.on_interruption,
            idempotency=encoded.idempotency,
            conversation=encoded.conversation,
            on_busy=s.on_busy,
            queue_limit=bounds.requests,
            tenant_limit=tenant_limit,
            queue_bytes=bounds.bytes,
            retention_s=self._settings.retention_s,
            conversation_ttl_s=self._settings.conversation_ttl_s,
            model=msgspec.json.encode(s.model) if s.model else "",
            queued=encoded.queued,
            head=msgspec.json.encode(s.head),
            question=encoded.question,
            links=s.links.encode(),
            conversation_turns=self._settings.conversation_turns,
            title=title_of(s.question) if encoded.conversation else "",
            summary=encode_summary(s.conversation_id, s.options)
            if s.conversation_id is not None
            else "",
            format=s.format,
            epoch=present.epoch,
            must_be_known=int(home.must_be_known),
            keep_s=s.keep.request_s or "",
            conversation_keep_s=s.keep.conversation_s or "",
            tenant_keep_s=s.keep.tenant_conversation_s or "",
        )
        return word, details[0].decode()


class _Encoded(NamedTuple):
    """What a submission adds to the memory of Redis, and its names in keys."""

    conversation: str
    idempotency: str
    payload: bytes
    queued: bytes
    question: bytes

    @property
    def size(self) -> int:
        """The bytes as submit.lua counts them."""
        return len(self.payload) + len(self.queued) + len(self.question)


def _encode(s: Submission, conversation: str, idempotency: str) -> _Encoded:
    queued = {"v": codec.VERSION, **s.head}
    # Scripts read the policy from the hash, a worker from the payload.
    payload = {**s.payload, "on_interruption": s.on_interruption}
    if s.conversation_id is not None:
        queued["messages"] = s.question
    if s.echo is not None:
        queued["echo"] = s.echo
    return _Encoded(
        conversation,
        idempotency,
        msgspec.json.encode(payload),
        codec.encode_data("queued", queued),
        msgspec.json.encode(s.question) if conversation else b"",
    )


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
