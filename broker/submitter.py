"""Submits requests: finds the partition of each, and routes it again when the partitions change."""

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
from tickertape.broker.repartition import Repartition
from tickertape.broker.submission import Submission, Submitted, conversation_key
from tickertape.broker.summaries import encode_summary
from tickertape.broker.titles import title_of
from tickertape.runtime.settings import Settings

# How often a submit is routed again while the partitions change.
_MOST_ROUTES = 20


class Submitter:
    """Submits requests; one per process is enough."""

    def __init__(self, connections: Connections, settings: Settings) -> None:
        self._keys = connections.keys
        self._settings = settings
        self._scripts = Scripts(connections.commands)
        self._partitions = connections.partitions
        self._homes = Homes(connections)
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
        for _ in range(_MOST_ROUTES):
            home = await self._homes.of_submit(conversation, idem)
            word, detail = await self._submit_to(home, s, conversation, idem, request_id)
            if word == "STALE":
                await self._repartition.catch_up()
            elif word != "ELSEWHERE":
                return _submitted(word, detail)
        raise Unavailable("The partitions are being changed.")

    async def _submit_to(
        self,
        home: Home,
        s: Submission,
        conversation: str,
        idem: str,
        request_id: str | None,
    ) -> tuple[Verdict, str]:
        request_id = request_id or request_ids.new_request_id(home.partition)
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
            queue_limit=self._share(self._settings.queue_limit),
            tenant_limit=self._share(self._settings.tenant_limit),
            queue_bytes=self._share(self._settings.queue_bytes),
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
            epoch=home.epoch,
            must_be_known=int(home.must_be_known),
            keep_s=s.keep.request_s or "",
            conversation_keep_s=s.keep.conversation_s or "",
            tenant_keep_s=s.keep.tenant_conversation_s or "",
        )
        return word, details[0].decode()

    def _share(self, limit: int) -> int:
        """The share of one partition in a limit: exact with one partition, rounded up with more."""
        return -(-limit // self._partitions.map.partitions)


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
