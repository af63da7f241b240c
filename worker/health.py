"""What a worker's probes say (runtime/probes.py): the state of its parts."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

from tickertape.broker.appender import Appender
from tickertape.broker.push import Push
from tickertape.broker.task_faults import TaskFaults
from tickertape.broker.work_check import LOOK_AGE_S, WorkCheck, upstream_condition
from tickertape.runtime.conditions import Code, Condition, Conditions, Looks
from tickertape.runtime.secret_watch import SecretWatch
from tickertape.runtime.shared_metrics import SharedMetrics
from tickertape.worker.consumer import Consumer
from tickertape.worker.group import Group
from tickertape.worker.model_watch import ModelWatch


@dataclass(frozen=True)
class Health:
    """The state of a worker, observed from its parts. Changes nothing."""

    consumer: Consumer
    appender: Appender
    push: Push
    check: WorkCheck
    models: ModelWatch
    metrics: SharedMetrics
    conditions: Conditions
    upstream_problem: Callable[[], str | None]
    faults: TaskFaults
    secrets: SecretWatch
    look_age_s: float = LOOK_AGE_S
    group: Group | None = None

    @cached_property
    def looks(self) -> Looks:
        """The looks at the conditions of this worker."""
        return Looks(self.look, self.conditions, age_s=self.look_age_s)

    def is_alive(self) -> str | None:
        """The loops that hang; None if no loop hangs."""
        silent = self.consumer.silent_loops
        return f"silent: {', '.join(silent)}" if silent else None

    async def look(self) -> list[Condition]:
        """What keeps this worker from its work at the moment, or harms it."""
        of_redis = await self.check.conditions()
        return [
            *of_redis,
            *self._of_process({each.code for each in of_redis}),
            *self._of_upstream(),
            *self.secrets.conditions(),
        ]

    def _of_process(self, of_redis: set[Code]) -> Iterator[Condition]:
        if self.consumer.is_stopping:
            yield Condition(Code.DRAINING, "draining")
        if not self.consumer.is_claiming:
            yield Condition(Code.STARTING, "starting")
        if fault := self.is_alive():
            yield Condition(Code.LOOPS_HANG, fault)
        is_connected = self.appender.is_ready and self.push.is_up
        if not is_connected and Code.CLUSTER_NODE not in of_redis:
            yield Condition(Code.PUSHES_DOWN, "not connected to Redis")
        if (refused := self.faults.refused) is not None:
            yield Condition(Code.TASK_REFUSED, refused)

    def _of_upstream(self) -> Iterator[Condition]:
        if self.models.fault is not None:
            code = upstream_condition(self.models.public_fault or "").code
            yield Condition(code, f"cannot list models: {self.models.fault}")
        elif (problem := self.upstream_problem()) is not None:
            yield Condition(Code.UPSTREAM_REFUSED, problem)

    def needs_restart(self) -> str | None:
        """The loops that hang, unless another process of the same command is at work."""
        # The process that started a group replaces those of its processes that hang.
        return None if self.group and self.group.is_another_at_work() else self.is_alive()

    async def present(self) -> Conditions:
        """The conditions of this worker, and of the other processes of the same command."""
        conditions = await self.looks.newest()
        if self.group is not None:
            conditions = conditions.with_those_of_others(self.group.conditions())
        return conditions

    def remark(self) -> str | None:
        """Why the upstream lists no models, if it is well without a list."""
        return self.models.no_list_reason

    async def metrics_text(self) -> bytes:
        """The metrics of this worker, and of the other processes of the same command."""
        return await self.metrics.text()
