"""Changes the number of partitions of a live system, step by step.

1. Announce: the map names the next number. Within `ANNOUNCE_S`, all processes serve the partitions
   of both maps.
2. Fence: each partition refuses submits that were routed by the present map.
3. Publish: the next map takes effect. Refused submits are routed again.

Each step may be repeated, and any process can finish the change of a process that was killed.
"""

import asyncio
from collections.abc import Callable

from tickertape.broker.connections import Connections
from tickertape.broker.errors import Refused, Unavailable
from tickertape.broker.lua import Scripts
from tickertape.broker.partition_map import MAX_OLD_MAPS, PartitionMap
from tickertape.broker.partitions import FOLLOW_EVERY_S

# All processes have read the announcement by then, even those whose reads are late by a second.
ANNOUNCE_S = FOLLOW_EVERY_S + 1.0
_MOST_TRIES = 20

OnStep = Callable[[str], None]


class TooManyMaps(Refused):
    """Too many earlier maps are in use; change the partitions after these have become empty."""


class Repartition:
    """The steps of a change. Every method raises Unavailable, and may be repeated then."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._keys = connections.keys
        self._partitions = connections.partitions
        self._scripts = Scripts(connections.commands)

    async def change(
        self, partitions: int, on_step: OnStep = print, *, announce_s: float = ANNOUNCE_S
    ) -> PartitionMap:
        """Lead the system to a map with this number; returns that map.

        First finishes a change that another process began. Raises TooManyMaps.
        """
        for _ in range(_MOST_TRIES):
            await self._partitions.learn()
            present = self._partitions.map
            if present.next is not None:
                on_step(f"finishing the change to {_count(present.next)}")
            elif present.partitions == partitions:
                return present
            else:
                if len(present.announced(partitions).changed().old) > MAX_OLD_MAPS:
                    raise TooManyMaps
                if not await self._replace(present, present.announced(partitions)):
                    continue
                on_step(
                    f"announced {_count(partitions)}; all processes serve them in {announce_s:g} s"
                )
                await asyncio.sleep(announce_s)
            await self.finish(on_step)
        raise Unavailable("The partitions are changed by others at the same time.")

    async def finish(self, on_step: OnStep | None = None) -> None:
        """Fence all partitions and publish the next map.

        Without a change under way, the next map is the present one with a larger epoch.
        """
        present = await self._partitions.refresh()
        changed = present.announced(present.next or present.partitions).changed()
        on_step = on_step or (lambda _: None)
        for partition in range(present.served):
            await self._scripts.verdict("fence", [self._keys.ring(partition)], epoch=changed.epoch)
            on_step(f"fenced {partition + 1} of {present.served}")
        await self._replace(present, changed)

    async def drop(self, emptied: set[int]) -> PartitionMap:
        """Serve earlier maps no more, after they were found empty; returns the newest map."""
        present = await self._partitions.refresh()
        if emptied & set(present.old) and present.next is None:
            await self._replace(present, present.without(emptied))
        return self._partitions.map

    async def catch_up(self) -> None:
        """Read the map after a submit was refused as stale.

        If that brings no newer map, a change was cut off between its steps, or Redis has lost the
        map that the fence is of. Then the next map is published here.
        """
        before = self._partitions.map
        if (await self._partitions.refresh()).epoch == before.epoch:
            await self.finish()

    async def _replace(self, seen: PartitionMap, by: PartitionMap) -> bool:
        """Replace the map unless another process has done so; learn the newest map."""
        is_alone = not by.old and by.next is None
        word, _ = await self._scripts.verdict(
            "remap",
            [self._keys.partition_map(), self._keys.partition_count()],
            seen=seen.encode(),
            map=by.encode(),
            partitions=by.partitions if is_alone else 0,
        )
        await self._partitions.refresh()
        return word == "OK"


def _count(partitions: int) -> str:
    return "1 partition" if partitions == 1 else f"{partitions} partitions"
