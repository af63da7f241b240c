"""What a worker does beside its jobs: it compacts logs, and counts unfinished requests again."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from tickertape.broker.compaction import Compaction
from tickertape.broker.counts import EVERY_S, Counts
from tickertape.broker.task_faults import TaskFaults


@dataclass(frozen=True)
class HousekeepingTiming:
    """The pauses of the housekeeping. Tests pass shorter ones."""

    # Between two looks at all partitions.
    round_s: float = 5.0
    # A worker looks at one partition a second, whatever their number: two commands.
    partition_s: float = 1.0
    recount_s: float = EVERY_S


TIMING = HousekeepingTiming()
# An empty partition costs a dozen commands, so recounts cost at most three commands a second. More
# partitions than these are counted less often.
_RECOUNTED_EACH_TIME = 12
# Logs that one look takes; other workers take the next ones.
_LOGS_AT_ONCE = 16


class Housekeeper:
    """Keeps house while `run` runs. Several workers share the work; none waits for another.

    With `compact_after_s` 0, logs are not compacted.
    """

    def __init__(
        self,
        compaction: Compaction,
        counts: Counts,
        faults: TaskFaults,
        *,
        partitions: Callable[[], int],
        compact_after_s: float,
        rng: Random,
        timing: HousekeepingTiming = TIMING,
    ) -> None:
        self._compaction = compaction
        self._counts = counts
        self._faults = faults
        self._partitions = partitions
        self._compact_after_s = compact_after_s
        self._rng = rng
        self._timing = timing
        self._recount_at_s = 0.0

    async def run(self) -> None:
        """Look at all partitions in turn until cancelled. No failure ends this."""
        while True:
            # Workers that start together must not look at the same moment.
            partitions = self._partitions()
            round_s = max(self._timing.round_s, self._timing.partition_s * partitions)
            await asyncio.sleep(round_s * self._rng.uniform(0.5, 1.0))
            recount_s = self._timing.recount_s * max(1.0, partitions / _RECOUNTED_EACH_TIME)
            is_recount_due = time.monotonic() >= self._recount_at_s
            if is_recount_due:
                self._recount_at_s = time.monotonic() + recount_s
            for partition in range(partitions):
                if self._compact_after_s > 0:
                    with self._faults.contain("compaction"):
                        await self._compact_due(partition)
                if is_recount_due:
                    with self._faults.contain("recount"):
                        await self._counts.recount(partition, every_s=recount_s)
            # Until a recount works, this worker is not ready.
            if self._faults.is_refused("recount"):
                self._recount_at_s = 0.0

    async def _compact_due(self, partition: int) -> None:
        while due := await self._compaction.due(
            partition, after_s=self._compact_after_s, limit=_LOGS_AT_ONCE
        ):
            for request_id in due:
                # One log that cannot be compacted must not keep the others from it.
                with self._faults.contain("compaction of a log"):
                    await self._compaction.compact(partition, request_id)
            if len(due) < _LOGS_AT_ONCE:
                return
