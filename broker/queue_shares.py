"""The limits of the queue as one partition applies them.

Each partition has a share of each limit, so that a submit is one script call. When a share is used
up, the loads of all partitions are read: one of them may be full while the queue as a whole is not.
"""

from typing import NamedTuple

from tickertape.broker.connections import Connections
from tickertape.broker.partition_map import PartitionMap
from tickertape.broker.principals import OPEN_TENANT, tenant_of
from tickertape.runtime.settings import Settings


class QueueBounds(NamedTuple):
    """The most requests and bytes of one partition that are not over, and bytes of one tenant."""

    requests: int
    bytes: int
    tenant_bytes: int


class QueueShares:
    """Divides TICKERTAPE_QUEUE_LIMIT and TICKERTAPE_QUEUE_BYTES among the partitions."""

    def __init__(self, connections: Connections, settings: Settings) -> None:
        self._connections = connections
        self._keys = connections.keys
        self._settings = settings

    def _limits(self, tenant: str) -> QueueBounds:
        s = self._settings
        # Keys in Redis close an API that its settings leave open. The only tenant of an open API
        # may use all.
        has_others = s.is_closed or tenant != OPEN_TENANT
        most = s.queue_bytes // 2 if has_others else s.queue_bytes
        return QueueBounds(s.queue_limit, s.queue_bytes, s.tenant_bytes or most)

    def share(self, present: PartitionMap, tenant: str) -> QueueBounds:
        """The share of each partition, rounded up."""
        return QueueBounds(*(-(-limit // present.partitions) for limit in self._limits(tenant)))

    async def beyond_share(
        self, present: PartitionMap, partition: int, size: int, tenant: str
    ) -> QueueBounds | None:
        """The bounds with room for one more request of `size` bytes; None if a limit is reached.

        Submits that do this at the same time may each get the last room. Raises Unavailable.
        """
        if present.served == 1:
            return None
        loads = [
            QueueBounds(int(count or 0), int(total or 0), min(int(owed or 0), int(total or 0)))
            for (count, total), owed in await self._loads(present, tenant)
        ]
        together = QueueBounds(*map(sum, zip(*loads, strict=True)))
        more = QueueBounds(1, size, size)
        if any(
            known + added > limit
            for known, added, limit in zip(together, more, self._limits(tenant), strict=True)
        ):
            return None
        return QueueBounds(*map(sum, zip(loads[partition], more, strict=True)))

    async def _loads(
        self, present: PartitionMap, tenant: str
    ) -> list[tuple[list[bytes | None], bytes | None]]:
        numbers = range(present.served)
        loads = await self._connections.ask_all(
            [("HMGET", self._keys.load(n), "count", "bytes") for n in numbers]
        )
        owed = await self._connections.ask_all(
            [("HGET", self._keys.owed(n), tenant_of(tenant)) for n in numbers]
        )
        return list(zip(loads, owed, strict=True))
