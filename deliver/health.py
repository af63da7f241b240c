"""What the probes of `tickertape deliver` say (runtime/probes.py), and which conditions it has."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from tickertape.broker.task_faults import TaskFaults
from tickertape.broker.work_check import LOOK_AGE_S, WorkCheck
from tickertape.deliver.metrics import DeliverMetrics
from tickertape.deliver.process import Deliver
from tickertape.runtime.conditions import Code, Condition, Conditions, Looks, Table, Weight
from tickertape.runtime.secret_watch import SecretWatch

# A process that is not ready hands nothing on, or not all of it. It goes on trying. A full memory
# does not stop it, because handing on frees memory.
OF_DELIVER: Table = {
    Code.DRAINING: Weight.FATAL_QUIET,
    Code.OLD_SERVER: Weight.FATAL,
    Code.RIGHTS: Weight.FATAL,
    Code.READ_ONLY: Weight.FATAL_QUIET,
    Code.MEMORY_FULL: Weight.NAMED,
    Code.WRITES_REFUSED: Weight.FATAL_QUIET,
    Code.STARTING: Weight.FATAL_QUIET,
    Code.LOOPS_HANG: Weight.FATAL,
    Code.TASK_REFUSED: Weight.FATAL_QUIET,
    Code.CLUSTER_NODE: Weight.NAMED,
    Code.REDIS_SILENT: Weight.FATAL,
    Code.HISTORY_AWAY: Weight.FATAL_QUIET,
    Code.SECRET_REFUSED: Weight.NAMED_QUIET,
}


@dataclass(frozen=True)
class Health:
    """The state of a process, observed from its parts. Changes nothing.

    `history_problem` returns why the database does not answer; None if it does.
    """

    deliver: Deliver
    check: WorkCheck
    history_problem: Callable[[], str | None]
    faults: TaskFaults
    secrets: SecretWatch
    metrics: DeliverMetrics
    conditions: Conditions
    look_age_s: float = LOOK_AGE_S

    @cached_property
    def looks(self) -> Looks:
        """The looks at the conditions of this process."""
        return Looks(self.look, self.conditions, age_s=self.look_age_s)

    async def look(self) -> list[Condition]:
        """What keeps this process from its work at the moment, or harms it."""
        found = [*await self.check.conditions(), *self.secrets.conditions()]
        for code, words in (
            (Code.DRAINING, "draining" if self.deliver.is_stopping else None),
            (Code.STARTING, None if self.deliver.has_started else "starting"),
            (Code.LOOPS_HANG, self.needs_restart()),
            (Code.TASK_REFUSED, self.faults.refused),
            (Code.HISTORY_AWAY, self.history_problem()),
        ):
            if words is not None:
                found.append(Condition(code, words))
        return found

    def needs_restart(self) -> str | None:
        """The loops that hang; None if no loop hangs."""
        silent = self.deliver.silent_loops
        return f"silent: {', '.join(silent)}" if silent else None

    async def present(self) -> Conditions:
        """The conditions as they were seen within the last second."""
        return await self.looks.newest()

    def remark(self) -> str | None:
        """Nothing, because this process has no upstream."""
        return None

    async def metrics_text(self) -> bytes:
        """The metrics of this process."""
        return self.metrics.text()
