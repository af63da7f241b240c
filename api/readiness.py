"""Whether this process can do its work, and which conditions make it not ready."""

import asyncio
from dataclasses import dataclass, field

from tickertape.runtime.conditions import Code, Conditions, Looks, Table, Weight

# An API process that is not ready gets no calls. Without memory in Redis, without one node of a
# cluster, without workers or an upstream, it still reads, streams and cancels, which may free
# memory, so these conditions are named only. Pushes have no condition of their own while a node is
# down, because those of the other nodes arrive.
OF_API: Table = {
    Code.OLD_SERVER: Weight.FATAL,
    Code.RIGHTS: Weight.FATAL,
    Code.READ_ONLY: Weight.FATAL_QUIET,
    Code.MEMORY_FULL: Weight.NAMED,
    Code.WRITES_REFUSED: Weight.FATAL_QUIET,
    Code.STARTING: Weight.FATAL_QUIET,
    Code.TASK_REFUSED: Weight.FATAL_QUIET,
    Code.PUSHES_DOWN: Weight.FATAL,
    Code.CLUSTER_NODE: Weight.NAMED,
    Code.REDIS_SILENT: Weight.FATAL,
    Code.UPSTREAM_KEY: Weight.NAMED,
    Code.NO_UPSTREAM: Weight.NAMED,
    Code.UPSTREAM: Weight.NAMED,
    Code.NO_WORKER: Weight.NAMED_QUIET,
    Code.SECRET_REFUSED: Weight.NAMED_QUIET,
}


@dataclass
class Readiness:
    """Whether Redis has accepted this process since its start, and what it lacks now."""

    has_agreed: asyncio.Event = field(default_factory=asyncio.Event)
    denial: str | None = None
    """The right that Redis denied at the last check before it accepted this process."""
    conditions: Conditions = field(default_factory=lambda: Conditions(OF_API))
    looks: Looks | None = None

    async def newest(self) -> Conditions:
        """The conditions, by a look that is made now if the last one is too old."""
        return self.conditions if self.looks is None else await self.looks.newest()

    @property
    def agreed(self) -> bool:
        """Whether Redis has accepted this process."""
        return self.has_agreed.is_set()
