"""Reports this worker to Redis every two seconds, for the status page and for waiting readers."""

import asyncio
import time

from tickertape.broker.connections import Connections
from tickertape.broker.fleet import REPORT_INTERVAL_S, Fleet, WorkerReport
from tickertape.broker.pools import UPSTREAM, functions_in
from tickertape.worker.consumer import Consumer
from tickertape.worker.counters import Counters, DeltaRate
from tickertape.worker.model_watch import ModelWatch

_BEFORE_CLAIMS_S = 0.02
_LEAVE_LIMIT_S = 0.5


class FleetReporter:
    """Reports while `run` runs. A report that fails is replaced by the next one."""

    def __init__(
        self,
        connections: Connections,
        consumer: Consumer,
        counters: Counters,
        models: ModelWatch,
        *,
        name: str,
        slots: int,
        interval_s: float = REPORT_INTERVAL_S,
    ) -> None:
        self._fleet = Fleet(connections)
        self._faults = connections.faults
        self._consumer = consumer
        self._counters = counters
        self._models = models
        self._name = name
        self._slots = slots
        self._interval_s = interval_s
        self._is_reported = False
        self._rate = DeltaRate(time.monotonic)

    async def run(self) -> None:
        """Report until cancelled, then withdraw the report if Redis answers at once."""
        try:
            while True:
                # A worker that does not claim yet, or that hangs, is not at work.
                is_claiming = self._consumer.is_claiming
                if is_claiming and not self._consumer.silent_loops:
                    await self._try_to_report()
                # API processes should know the functions of a new worker at once.
                await asyncio.sleep(self._interval_s if is_claiming else _BEFORE_CLAIMS_S)
        finally:
            if self._is_reported:
                with self._faults.contain("fleet report"):
                    async with asyncio.timeout(_LEAVE_LIMIT_S):
                        await self._fleet.leave(self._name, WorkerReport)

    async def _try_to_report(self) -> None:
        self._is_reported = False
        with self._faults.contain("fleet report"):
            await self._fleet.report(self._name, self._report())
            self._is_reported = True

    def _report(self) -> WorkerReport:
        consumer, counters = self._consumer, self._counters
        deltas = counters.deltas + consumer.running_deltas
        return WorkerReport(
            slots=self._slots,
            running=consumer.running,
            is_draining=consumer.is_stopping,
            deltas=deltas,
            deltas_per_s=round(self._rate.add(deltas), 1),
            completed=counters.ended_as("completed"),
            failed=counters.ended_as("failed"),
            takeovers=counters.takeovers,
            retries=counters.retries.total(),
            titles=counters.titles["given"],
            upstream_problem=counters.upstream_problem or self._models.public_fault,
            functions=functions_in(consumer.pools),
            serves_upstream=UPSTREAM in consumer.pools,
            models=self._models.only_models,
        )
