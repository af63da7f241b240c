"""Carries what ended requests have used to the limits of their tenants, beside the jobs."""

import asyncio
import time
from collections.abc import Callable

from tickertape.broker.leases import Lease
from tickertape.broker.request_ids import partition_of
from tickertape.broker.settlements import Settlements
from tickertape.broker.task_faults import TaskFaults
from tickertape.runtime.wait import wait_at_most

# Requests that end within this time are settled together.
PAUSE_S = 0.2
SWEEP_S = 60.0


class Settler:
    """Settles after the requests that this worker ends. With one partition, there is nothing to do.

    What a killed worker leaves, and what others cancel, is settled with a sweep of all partitions.
    """

    def __init__(
        self,
        settlements: Settlements,
        faults: TaskFaults,
        *,
        partitions: Callable[[], int],
        sweep_s: float = SWEEP_S,
    ) -> None:
        self._sweep_s = sweep_s
        self._settlements = settlements
        self._faults = faults
        self._partitions = partitions
        self._due: set[int] = set()
        self._swept_at_s = time.monotonic()
        self._has_due = asyncio.Event()

    def ended(self, lease: Lease) -> None:
        """Settle the request soon."""
        if self._partitions() > 1:
            self._due.add(partition_of(lease.request_id))
            self._has_due.set()

    async def run(self) -> None:
        """Settle until cancelled. No failure ends this."""
        while True:
            # Busy workers sweep as well: what another one left must not wait for a quiet time.
            left_s = self._swept_at_s + self._sweep_s - time.monotonic()
            await wait_at_most(self._has_due, max(0.0, left_s))
            await asyncio.sleep(PAUSE_S)
            self._has_due.clear()
            due, self._due = self._due, set()
            if time.monotonic() >= self._swept_at_s + self._sweep_s:
                self._swept_at_s = time.monotonic()
                due = set(range(self._partitions())) if self._partitions() > 1 else set()
            for partition in sorted(due):
                with self._faults.contain("settlement"):
                    await self._settlements.settle(partition)
