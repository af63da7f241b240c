"""Poison requests, whose workers all died. They are kept so that people can retry or drop them."""

import contextlib
from dataclasses import dataclass
from typing import Any, cast

import msgspec

from tickertape.broker import request_ids
from tickertape.broker.connections import Connections
from tickertape.broker.errors import NotFinished, RequestMissing
from tickertape.broker.kinds import Policy
from tickertape.broker.requests import Requests
from tickertape.broker.submission import Submission
from tickertape.runtime.settings import Settings

_MAX_LISTED = 1000


@dataclass(frozen=True)
class DeadRequest:
    """A poison request. `can_retry` holds for DEAD_RETENTION_S, until the prompt expires."""

    request_id: str
    tenant: str
    died_ms: int
    attempts: int
    can_retry: bool


class DeadRequests:
    """Lists, retries and drops poison requests.

    Raises Unavailable when Redis does not answer; the call may then be repeated. No method is one
    atomic script: a request leaves the list only after the retry or the erasure succeeded.
    """

    def __init__(self, connections: Connections, settings: Settings) -> None:
        self._connections = connections
        self._keys = connections.keys
        self._settings = settings
        self._requests = Requests(connections, settings)

    async def listed(self) -> list[DeadRequest]:
        """All poison requests, the longest dead first."""
        found = []
        for partition in range(self._connections.partitions.served):
            for entry_id, request_id, tenant in await self._rows(partition):
                n, payload = await self._connections.ask(
                    "HMGET", self._keys.request(request_id), "n", "payload"
                )
                died_ms = int(entry_id.partition("-")[0])
                dead = DeadRequest(request_id, tenant, died_ms, int(n or 0), payload is not None)
                found.append(dead)
        return sorted(found, key=lambda dead: dead.died_ms)

    async def retry(self, request_id: str) -> str:
        """Submit the same prompt as a new request and return its id.

        A repeated call returns the same id. The role was rendered when the first request was
        accepted, and is not rendered again. Raises RequestMissing when the request is not on the
        list or its prompt has expired, QueueFull, TenantLimitReached.
        """
        entry_id, tenant = await self._find(request_id)
        key = self._keys.request(request_id)
        stored = await self._connections.ask("HGETALL", key)
        if b"payload" not in stored:
            raise RequestMissing(f"The prompt of {request_id} has expired.")
        submitted = await self._requests.submit(_again(request_id, tenant, stored))
        await self._strike(request_id, entry_id)
        # The new request owns the prompt now, and the rest may expire like any ended request.
        await self._connections.ask("HDEL", key, "payload")
        await self._connections.ask("EXPIRE", key, self._settings.retention_s)
        return submitted.request_id

    async def drop(self, request_id: str) -> None:
        """Erase a request and its prompt; raises RequestMissing when it is not on the list."""
        entry_id, tenant = await self._find(request_id)
        with contextlib.suppress(RequestMissing, NotFinished):
            await self._requests.erase(request_id, tenant)
        await self._strike(request_id, entry_id)

    async def _find(self, request_id: str) -> tuple[str, str]:
        partition = request_ids.parse_partition(request_id)
        if partition is not None and await self._connections.partitions.serves(partition):
            for entry_id, dead_id, tenant in await self._rows(partition):
                if dead_id == request_id:
                    return entry_id, tenant
        raise RequestMissing(f"{request_id} is not among the dead requests.")

    async def _rows(self, partition: int) -> list[tuple[str, str, str]]:
        rows = await self._connections.ask(
            "XRANGE", self._keys.dead(partition), "-", "+", "COUNT", _MAX_LISTED
        )
        return [(id_.decode(), row[b"id"].decode(), row[b"tenant"].decode()) for id_, row in rows]

    async def _strike(self, request_id: str, entry_id: str) -> None:
        await self._connections.ask(
            "XDEL", self._keys.dead(request_ids.partition_of(request_id)), entry_id
        )


def _again(request_id: str, tenant: str, stored: dict[bytes, bytes]) -> Submission:
    payload: dict[str, Any] = msgspec.json.decode(stored[b"payload"])
    head: dict[str, Any] = msgspec.json.decode(stored[b"head"])
    return Submission(
        tenant=tenant,
        payload=payload,
        head=head,
        question=payload.get("messages", []),
        model=msgspec.json.decode(stored[b"model"]) if stored.get(b"model") else None,
        on_interruption=cast("Policy", stored[b"policy"].decode()),
        conversation_id=head.get("conversation_id"),
        # If the reply to this submit is lost, a repeated call finds the request by this key.
        idempotency_key=f"retry of {request_id}",
        fingerprint=request_id,
        format=int(stored.get(b"format", 1)),
        pool=stored.get(b"pool", b"").decode(),
    )
