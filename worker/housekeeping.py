"""What a worker does for the logs of requests that are over: it compacts them, one at a time."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from tickertape.broker.compaction import Compaction
from tickertape.broker.task_faults import TaskFaults


@dataclass(frozen=True)
class HousekeepingTiming:
    """The pauses of the housekeeping. Tests pass shorter ones."""

    # Between two looks at all partitions.
    round_s: float = 5.0
    # A worker looks at two partitions a second, whatever their number.
    partition_s: float = 0.5


TIMING = HousekeepingTiming()
# Logs that one look takes; other workers take the next ones.
_LOGS_AT_ONCE = 16


class Housekeeper:
    """Compacts logs while `run` runs. Several workers share the logs; none waits for another."""

    def __init__(
        self,
        compaction: Compaction,
        faults: TaskFaults,
        *,
        partitions: Callable[[], int],
        compact_after_s: float,
        rng: Random,
        timing: HousekeepingTiming = TIMING,
    ) -> None:
        self._compaction = compaction
        self._faults = faults
        self._partitions = partitions
        self._compact_after_s = compact_after_s
        self._rng = rng
        self._timing = timing

    async def run(self) -> None:
        """Look at all partitions in turn until cancelled. No failure ends this."""
        while True:
            # Workers that start together must not look at the same moment.
            partitions = self._partitions()
            round_s = max(self._timing.round_s, self._timing.partition_s * partitions)
            await asyncio.sleep(round_s * self._rng.uniform(0.5, 1.0))
            for partition in range(partitions):
                with self._faults.contain("housekeeping"):
                    await self._compact_due(partition)

    async def _compact_due(self, partition: int) -> None:
        while due := await self._compaction.due(
            partition, after_s=self._compact_after_s, limit=_LOGS_AT_ONCE
        ):
            for request_id in due:
                # One log that cannot be compacted must not keep the others from it.
                with self._faults.contain("compaction"):
                    await self._compaction.compact(partition, request_id)
            if len(due) < _LOGS_AT_ONCE:
                return
