"""After erasures, has Redis rewrite the append-only file that still has the erased texts."""

import asyncio
from collections.abc import Callable
from random import Random

import structlog

from tickertape.broker.connections import Connections
from tickertape.broker.erasures import Erasures
from tickertape.broker.task_faults import TaskFaults
from tickertape.runtime.settings import Settings

log = structlog.get_logger()

LOOK_S = 5.0
_TASK = "rewrite of the append-only file"


class AofRewriter:
    """Looks for erasures while `run` runs. Several workers share the work by turns.

    A rewrite begins at most once in `every_s`, and at most `every_s` and twice `look_s` after an
    erasure.
    """

    def __init__(
        self,
        erasures: Erasures,
        faults: TaskFaults,
        *,
        partitions: Callable[[], int],
        every_s: float,
        rng: Random,
        look_s: float = LOOK_S,
    ) -> None:
        self._erasures = erasures
        self._faults = faults
        self._partitions = partitions
        self._every_s = every_s
        self._rng = rng
        self._look_s = look_s

    async def run(self) -> None:
        """Look at all partitions in turn until cancelled. No failure ends this."""
        while True:
            await asyncio.sleep(self._look_s * self._rng.uniform(0.5, 1.0))
            for partition in range(self._partitions()):
                with self._faults.contain(_TASK):
                    await self._look(partition)

    async def _look(self, partition: int) -> None:
        count = await self._erasures.pending(partition)
        if count is None or not await self._erasures.take_turn(partition, self._every_s):
            return
        # Counted again: what was erased before the turn is in the same rewrite.
        count = await self._erasures.pending(partition) or count
        if await self._erasures.rewrite(partition, count):
            log.info("append-only file rewritten", partition=partition, erasures=count)


def rewriter_of(
    connections: Connections, settings: Settings, rng: Random, look_s: float
) -> AofRewriter | None:
    """The rewriter of a worker; None if the settings want none."""
    if settings.rewrite_aof_s == 0:
        return None
    return AofRewriter(
        Erasures(connections),
        connections.faults,
        partitions=lambda: connections.partitions.served,
        every_s=settings.rewrite_aof_s,
        rng=rng,
        look_s=look_s,
    )
