"""What responses were asked and answered, for the responses that follow them.

A response that follows another one carries the messages of the whole chain to its worker, and drops
them at its end. What stays is its own input and output, and the id of the response before it. An
*exchange* has the messages of one response: it is stored when the first response follows, and once,
however many follow. The reasons are in docs/decisions/0035.
"""

from typing import Any

import msgspec

from tickertape.broker import request_ids
from tickertape.broker.connections import Connections
from tickertape.broker.errors import RequestMissing
from tickertape.broker.former_primary import never_from_a_former_primary
from tickertape.broker.lua import Scripts
from tickertape.broker.patient_json import decode_patiently

# The reply with so many short exchanges takes a millisecond.
_MOST_AT_ONCE = 500
# A chain is needed until the response that follows it expires, and nobody knows when that response
# will end. So a chain is kept for this much longer, at most twice as long, and at least half of it.
_MOST_EXTRA_S = 7200

Messages = list[dict[str, Any]]


class Chain(msgspec.Struct, frozen=True):
    """The responses that a response follows: the nearest one, and the size of all.

    `size_bytes` is the size of the messages of all, and `count` their number.
    """

    request_id: str = ""
    size_bytes: int = 0
    count: int = 0

    def with_next(self, request_id: str, size_bytes: int) -> "Chain":
        """The chain of a response that follows `request_id`, which follows this chain."""
        return Chain(request_id, self.size_bytes + size_bytes, self.count + 1)


class Exchanges:
    """Keeps and reads exchanges; each call checks the tenant. Raises Unavailable."""

    def __init__(self, connections: Connections, *, has_history: int = 0) -> None:
        self._connections = connections
        self._has_history = has_history
        self._keys = connections.keys
        self._scripts = Scripts(connections.commands)

    async def follow(
        self, request_id: str, tenant: str, messages: Messages, after: str, *, retention_s: int
    ) -> Messages:
        """Store the messages of a response that is over, and read those of the chain before it.

        The chain is kept for as long as the responses that follow may need it. Returns the messages
        of the chain, the oldest first. Raises RequestMissing if a response of the chain was erased,
        or has expired, and then stores nothing.
        """
        own = msgspec.json.encode(messages)
        found = await self.follow_encoded(request_id, tenant, own, after, retention_s=retention_s)
        return [message for exchange in found for message in decode_patiently(exchange)]

    @never_from_a_former_primary
    async def follow_encoded(
        self, request_id: str, tenant: str, own: bytes, after: str, *, retention_s: int
    ) -> list[bytes]:
        """As `follow`, with JSON, which may be too long to be decoded in the event loop."""
        found, next_id = await self._read(request_id, tenant, retention_s, own, after)
        while next_id:
            more, next_id = await self._read(next_id, tenant, retention_s)
            found += more
        return found[::-1]

    async def erase(self, request_id: str, tenant: str) -> None:
        """Erase the exchange of a response that has expired; raises RequestMissing without one."""
        ring = await self._ring(request_id)
        word, _ = await self._scripts.verdict(
            "erase",
            [ring],
            request_id=request_id,
            tenant=tenant,
            has_history=self._has_history,
        )
        if word != "OK":
            raise RequestMissing

    async def _read(
        self, request_id: str, tenant: str, retention_s: int, exchange: bytes = b"", after: str = ""
    ) -> tuple[list[bytes], str]:
        extra_s = min(_MOST_EXTRA_S, retention_s)
        word, (next_id, *found) = await self._scripts.verdict(
            "chain",
            [await self._ring(request_id)],
            request_id=request_id,
            tenant=tenant,
            keep_s=retention_s + extra_s,
            least_s=retention_s + extra_s // 2,
            exchange=exchange,
            after=after,
            most=_MOST_AT_ONCE,
        )
        if word != "OK":
            raise RequestMissing
        return found, next_id.decode()

    async def _ring(self, request_id: str) -> str:
        partition = request_ids.parse_partition(request_id)
        if partition is None or not await self._connections.partitions.serves(partition):
            raise RequestMissing
        return self._keys.ring(partition)
