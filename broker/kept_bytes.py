"""The limit of the bytes that a tenant keeps, over all partitions.

SUBMIT compares what a tenant keeps in its partition. With several partitions, a tenant with a limit
costs one round trip before that, for what it keeps in the others. What is kept is counted by the
time at which it expires (`scripts/kept.lua`), so the time until there is room is known.
"""

from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

from tickertape.broker.connections import Connections
from tickertape.broker.errors import KeptBytesReached
from tickertape.broker.partition_map import PartitionMap
from tickertape.broker.principals import tenant_of

_MOST_TENANTS = 1000


class _Kept(NamedTuple):
    """The bytes that a tenant keeps in a partition, by their end in s, and those in flight."""

    ends: dict[int, int]
    in_flight: int

    @property
    def total(self) -> int:
        return sum(self.ends.values()) + self.in_flight


class KeptBytes:
    """Reads what tenants keep. Raises Unavailable."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._keys = connections.keys

    async def bound(
        self, present: PartitionMap, partition: int, tenant: str, limit: int | None
    ) -> int | None:
        """The limit of one partition: what the others leave of it. None without a limit."""
        if limit is None or present.served == 1:
            return limit
        parts = await self._read(present, tenant_of(tenant), await self._now_s())
        others = sum(part.total for n, part in enumerate(parts) if n != partition)
        return max(0, limit - others)

    async def refusal(
        self, present: PartitionMap, tenant: str, *, size: int, limit: int
    ) -> KeptBytesReached:
        """The error for a request of `size` bytes that was refused."""
        now_s = await self._now_s()
        parts = await self._read(present, tenant_of(tenant), now_s)
        ends: Counter[int] = Counter()
        for part in parts:
            ends.update(part.ends)
        end_s = end_of(ends, sum(part.total for part in parts) + size - limit)
        return KeptBytesReached(limit, None if end_s is None else 1000 * (end_s - now_s))

    async def largest(self, partitions: int) -> list[int]:
        """The bytes of the tenants that keep the most: at most 1000 of each partition."""
        replies = await self._connections.ask_all(
            [
                ("ZREVRANGEBYSCORE", self._keys.kept(n), "+inf", "-inf", "WITHSCORES", "LIMIT", 0,
                 _MOST_TENANTS)
                for n in range(partitions)
            ]
        )  # fmt: skip
        totals: Counter[bytes] = Counter()
        for row in replies:
            for tenant, total in zip(row[::2], row[1::2], strict=True):
                totals[tenant] += int(total)
        return sorted(totals.values(), reverse=True)

    async def _now_s(self) -> int:
        return int((await self._connections.ask("TIME"))[0])

    async def _read(self, present: PartitionMap, account: str, now_s: int) -> list[_Kept]:
        numbers = range(present.served)
        replies = await self._connections.ask_all(
            [("HGETALL", self._keys.kept_of(n, account)) for n in numbers]
            + [("HGET", self._keys.owed(n), account) for n in numbers]
        )
        kept, owed = replies[: len(numbers)], replies[len(numbers) :]
        return [
            _Kept(_live_ends(stored, now_s), int(in_flight or 0))
            for stored, in_flight in zip(kept, owed, strict=True)
        ]


def _live_ends(stored: object, now_s: int) -> dict[int, int]:
    rows = stored if isinstance(stored, dict) else {}
    ends = {int(end_s): int(size) for end_s, size in rows.items()}
    return {end_s: size for end_s, size in ends.items() if end_s > now_s}


def end_of(ends: Mapping[int, int], excess: int) -> int | None:
    """Pure: when so many bytes have expired, in s; None if no expiry frees as many."""
    for end_s in sorted(ends):
        excess -= ends[end_s]
        if excess <= 0:
            return end_s
    return None
