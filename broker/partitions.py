"""The partitions as one process knows them, and how it follows a change of their number."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

import structlog

from tickertape.broker.partition_map import PartitionMap

if TYPE_CHECKING:
    from tickertape.broker.connections import Connections

log = structlog.get_logger()

# A change waits for longer than this between its steps; see broker/repartition.py.
FOLLOW_EVERY_S = 1.0


class Partitions:
    """The newest partition map that this process has read.

    Until `agree` was called, it is the map of a new system with `first` partitions. A process that
    acts on an old map does no harm, because the scripts refuse its submits.
    """

    def __init__(self, connections: "Connections", first: int) -> None:
        self._connections = connections
        self._key = connections.keys.partition_map()
        self._count_key = connections.keys.partition_count()
        self._map = PartitionMap(first)
        self._listeners: dict[Callable[[], None], None] = {}
        self._has_agreed = asyncio.Event()

    @property
    def map(self) -> PartitionMap:
        """The newest map."""
        return self._map

    @property
    def served(self) -> int:
        """How many partitions this process has to serve; counted from 0."""
        return self._map.served

    def listen(self, on_change: Callable[[], None]) -> None:
        """Call a function after each change of the map; the functions in the order of the calls."""
        self._listeners[on_change] = None

    def unlisten(self, on_change: Callable[[], None]) -> None:
        """Call the function no more."""
        self._listeners.pop(on_change, None)

    async def agree(self, wanted: int) -> None:
        """Read the map. The first process of a system writes it, with `wanted` partitions.

        Raises Unavailable.
        """
        await self._connections.ask("SET", self._count_key, wanted, "NX")
        await self.learn()
        used = self._map.partitions
        if used != wanted:
            log.warning(
                "TICKERTAPE_PARTITIONS has no effect",
                setting=wanted,
                in_use=used,
                do=f"set it to {used}, or run `tickertape partitions {wanted}`",
            )

    async def learn(self) -> bool:
        """Read the map; returns whether there is one. Raises Unavailable.

        A system of version 0.1 has only the number, of which a map is made.
        """
        if (stored := await self._read()) is None:
            return False
        await self._connections.ask("SET", self._key, stored.encode(), "NX")
        self._adopt(await self._read() or stored)
        self._has_agreed.set()
        return True

    async def refresh(self) -> PartitionMap:
        """Read the map again, and return the newest one; raises Unavailable.

        A map that is older than the known one, or missing, means that Redis has lost writes. Then
        the known one is written again. If two processes do that at once, the map with the larger
        epoch is there at the latest after the next read.
        """
        stored = await self._read()
        if stored is not None and stored.epoch >= self._map.epoch:
            self._adopt(stored)
        elif self._has_agreed.is_set():
            only_new = ("NX",) if stored is None else ()
            await self._connections.ask("SET", self._key, self._map.encode(), *only_new)
        return self._map

    async def follow(self) -> None:
        """Read the map every FOLLOW_EVERY_S until cancelled: one command, whatever the load."""
        await self._has_agreed.wait()
        logged = self._map
        while True:
            await asyncio.sleep(FOLLOW_EVERY_S)
            with self._connections.faults.contain("partition map"):
                await self.refresh()
            if self._map.epoch != logged.epoch:
                log.info("partitions changed", before=logged.partitions, now=self._map.partitions)
                logged = self._map

    async def serves(self, partition: int) -> bool:
        """Whether the system has this partition. A number beyond the known ones reads the map."""
        return partition < self.served or partition < (await self.refresh()).served

    async def _read(self) -> PartitionMap | None:
        text = await self._connections.ask("GET", self._key)
        if text is not None:
            return PartitionMap.decode(text)
        count = int(await self._connections.ask("GET", self._count_key) or 0)
        return PartitionMap(count) if count else None

    def _adopt(self, stored: PartitionMap) -> None:
        if stored == self._map:
            return
        self._map = stored
        for on_change in list(self._listeners):
            on_change()
