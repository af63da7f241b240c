"""Where a conversation or an idempotency key lives.

A name lives in one partition. While earlier maps are kept, it may be one that an earlier map chose.
The rules that keep a name from living twice are in docs/decisions/0029.
"""

from typing import NamedTuple

from tickertape.broker.connections import Connections
from tickertape.broker.partition_map import PartitionMap
from tickertape.broker.request_ids import parse_partition


class Home(NamedTuple):
    """`must_be_known`: a submit there is refused if the partition no longer knows the names."""

    partition: int
    must_be_known: bool = False


class Homes:
    """Finds homes. With one map, this costs no call to Redis. Raises Unavailable."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._keys = connections.keys
        self._partitions = connections.partitions

    async def of_submit(
        self,
        present: PartitionMap,
        conversation: str,
        idempotency: str,
        *,
        near: str | None = None,
    ) -> Home:
        """The home of a submit, by its conversation and its idempotency key; both may be empty.

        Without both, it is that of the request `near`, if the map still uses that partition.
        """
        affinity = conversation or idempotency
        if not affinity:
            beside = parse_partition(near) if near else None
            is_used = beside is not None and beside < present.partitions
            return Home(beside if beside is not None and is_used else present.choose())
        homes = present.homes(affinity)
        if len(homes) == 1:
            return Home(homes[0])
        # In this order: a partition of an earlier map without the conversation gets no new
        # idempotency keys, so what is absent then stays absent.
        conversations = await self._known(
            [self._keys.conversation(n, conversation) for n in homes] if conversation else []
        )
        idempotency_keys = await self._known(
            [self._keys.idempotency(n, idempotency) for n in homes] if idempotency else []
        )
        is_new_here = not any(conversations[1:] + idempotency_keys[1:])
        for known in (idempotency_keys, conversations):
            if True in known:
                at = homes[known.index(True)]
                return Home(at, must_be_known=not is_new_here)
        return Home(homes[0])

    async def of_conversation(self, conversation: str) -> int:
        """The partition of a conversation; without one, where a new one would be."""
        homes = self._partitions.map.homes(conversation)
        if len(homes) == 1:
            return homes[0]
        known = await self._known([self._keys.conversation(n, conversation) for n in homes])
        return homes[known.index(True)] if True in known else homes[0]

    async def _known(self, names: list[str]) -> list[bool]:
        if not names:
            return []
        replies = await self._connections.ask_all([("EXISTS", name) for name in names])
        return [reply > 0 for reply in replies]
