"""What all jobs of a worker share, and the rule for calls while Redis is away."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from tickertape.broker.appender import Appender
from tickertape.broker.conversations import Conversations
from tickertape.broker.errors import Unavailable
from tickertape.broker.leases import Lease
from tickertape.broker.log import Logs
from tickertape.broker.looks import Looks
from tickertape.broker.marks import Marks
from tickertape.broker.pools import UPSTREAM
from tickertape.broker.queue import Queue
from tickertape.broker.task_faults import TaskFaults
from tickertape.runtime.tracing import Tracer
from tickertape.worker import prompt
from tickertape.worker.counters import Counters
from tickertape.worker.functions.definition import Function
from tickertape.worker.functions.marking import AttemptMarking
from tickertape.worker.functions.source import FunctionSource
from tickertape.worker.source import Source, UpstreamSource, Written
from tickertape.worker.upstream.answer_stream import Limits
from tickertape.worker.upstream.client import Upstream
from tickertape.worker.upstreams.roster import UpstreamTable
from tickertape.worker.upstreams.source import TableSource

T = TypeVar("T")


@dataclass(frozen=True)
class JobTiming:
    """The pauses and limits of a job. Tests pass shorter ones."""

    # The pause before a broker call is repeated while Redis is away.
    unavailable_pause_s: float = 0.2
    # A drain waits this long for the last pieces to reach the log before it releases the request.
    flush_on_drain_s: float = 1.0
    # A function that is cancelled may close what it holds for so long.
    stop_function_s: float = 1.0
    # Beyond an attempt's deadline there are the longest pause before a restart (see
    # worker/retry.py) and the last writes.
    overdue_after_s: float = 900.0


@dataclass(frozen=True)
class Tools:
    """What every job of a worker shares."""

    queue: Queue
    looks: Looks
    marks: Marks
    appender: Appender
    upstream: Upstream | UpstreamTable
    logs: Logs
    conversations: Conversations
    limits: Limits
    bounds: prompt.Bounds
    rng: random.Random
    timing: JobTiming = field(default_factory=JobTiming)
    faults: TaskFaults = field(default_factory=TaskFaults)
    counters: Counters = field(default_factory=Counters)
    tracer: Tracer | None = None
    functions: Mapping[str, Function] = field(default_factory=dict)
    """By their names."""
    answer_listeners: list[Callable[[Lease], None]] = field(default_factory=list)
    """Are called with each request that is completed."""
    end_listeners: list[Callable[[Lease], None]] = field(default_factory=list)
    """Are called with each request that this worker ends."""

    @property
    def upstream_problem(self) -> str | None:
        """Why the upstream refused the last call, or which of several cannot be used."""
        of_some = self.upstream.problem if isinstance(self.upstream, UpstreamTable) else None
        return self.counters.upstream_problem or of_some

    def source_of(self, lease: Lease, written: Written, tried: set[str]) -> Source:
        """What answers the request of a lease, in an attempt that writes its answer.

        `tried` has the upstreams of the table that failed for the request in this worker.
        """
        function = self._function_of(lease)
        if function is None:
            upstream = self.upstream
            if isinstance(upstream, UpstreamTable):
                return TableSource(upstream, tried, lease, written, self)
            return UpstreamSource(upstream)
        marking = AttemptMarking(self.marks, lease, written, self.insist, function.on_interruption)
        return FunctionSource(
            function, lease, marking, self, stop_grace_s=self.timing.stop_function_s
        )

    def _function_of(self, lease: Lease) -> Function | None:
        if lease.pool != UPSTREAM:
            return self.functions[lease.pool]
        # An API process of an earlier release knows no pools.
        return self.functions.get(lease.payload.get("params", {}).get("model"))

    async def insist(self, call: Callable[[], Awaitable[T]]) -> T:
        """Repeat a broker call while Redis is away. All broker calls are safe to repeat."""
        while True:
            try:
                return await call()
            except Unavailable:
                await asyncio.sleep(self.timing.unavailable_pause_s)
