"""Looks: reads of partitions that find work which no wake announced. They change nothing."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from tickertape.broker.codec import NEWEST_FORMAT
from tickertape.broker.connections import Connections
from tickertape.broker.lua import Scripts
from tickertape.broker.pools import UPSTREAM


@dataclass(frozen=True)
class Look:
    """What a partition holds: work that nobody has taken, and work that is due in `next_ms`.

    `next_ms` is None when no lease and no delay has an end.
    """

    has_waiting: bool = False
    has_suspects: bool = False
    next_ms: int | None = None


class Looks:
    """Looks for a worker of some pools; others' requests are not seen.

    Every method raises Unavailable when Redis does not answer.
    """

    def __init__(
        self,
        connections: Connections,
        *,
        newest_format: int = NEWEST_FORMAT,
        pools: Sequence[str] = (UPSTREAM,),
    ) -> None:
        self._connections = connections
        self._format = newest_format
        self._pools = tuple(pools)
        self._keys = connections.keys
        self._scripts = Scripts(connections.commands)

    def node_of(self, partition: int) -> Hashable:
        """The server that owns the partition now."""
        return self._connections.node_of(partition)

    async def look(self, partition: int) -> Look:
        """What the partition holds now."""
        keys = self._keys
        waiting, suspects, next_ms = await self._scripts.call(
            "look",
            [
                keys.ring(partition),
                keys.suspect(partition),
                keys.running(partition),
                keys.delayed(partition),
                keys.newer(partition),
            ],
            *self._pools,
            format=self._format,
        )
        return Look(waiting > 0, suspects > 0, next_ms if next_ms >= 0 else None)

    async def has_waiting(self, partitions: int) -> bool | None:
        """Whether any partition has work that nobody has taken, in one command.

        None when the partitions are on several servers, which no command can ask together.
        """
        if self._connections.is_cluster:
            return None
        keys = [
            key
            for partition in range(partitions)
            for pool in self._pools
            for key in (self._keys.ring(partition, pool), self._keys.suspect(partition, pool))
        ]
        return bool(await self._connections.ask_small("EXISTS", *keys))
