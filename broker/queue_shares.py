"""The limits of the queue as one partition applies them.

Each partition has a share of each limit, so that a submit is one script call. When a share is used
up, the loads of all partitions are read: one of them may be full while the queue as a whole is not.
"""

from typing import NamedTuple

from tickertape.broker.connections import Connections
from tickertape.broker.partition_map import PartitionMap
from tickertape.runtime.settings import Settings


class QueueBounds(NamedTuple):
    """The most requests and bytes of one partition that are not over."""

    requests: int
    bytes: int


class QueueShares:
    """Divides TICKERTAPE_QUEUE_LIMIT and TICKERTAPE_QUEUE_BYTES among the partitions."""

    def __init__(self, connections: Connections, settings: Settings) -> None:
        self._connections = connections
        self._keys = connections.keys
        self._limits = QueueBounds(settings.queue_limit, settings.queue_bytes)

    def share(self, present: PartitionMap) -> QueueBounds:
        """The share of each partition, rounded up."""
        return QueueBounds(*(-(-limit // present.partitions) for limit in self._limits))

    async def beyond_share(
        self, present: PartitionMap, partition: int, size: int
    ) -> QueueBounds | None:
        """The bounds with room for one more request of `size` bytes; None if the queue is full.

        Submits that do this at the same time may each get the last room. Raises Unavailable.
        """
        if present.served == 1:
            return None
        loads = [
            QueueBounds(int(count or 0), int(size or 0))
            for count, size in await self._connections.ask_all(
                [("HMGET", self._keys.load(n), "count", "bytes") for n in range(present.served)]
            )
        ]
        total_requests = sum(load.requests for load in loads) + 1
        total_bytes = sum(load.bytes for load in loads) + size
        if total_requests > self._limits.requests or total_bytes > self._limits.bytes:
            return None
        return QueueBounds(loads[partition].requests + 1, loads[partition].bytes + size)
