"""The jobs of a worker that are under way, and the slots that they take."""

import asyncio
import time
from collections.abc import Callable

import structlog

from tickertape.broker.leases import Lease
from tickertape.worker.job import Job
from tickertape.worker.lease_keeper import LeaseKeeper
from tickertape.worker.tools import Tools

log = structlog.get_logger()


class RunningJobs:
    """Starts jobs, and calls `on_end` with each that has ended.

    `full` is set while jobs take all slots. A job is listed in the order in which it was claimed.
    """

    def __init__(
        self, tools: Tools, keeper: LeaseKeeper, *, slots: int, suspect_crashes: int
    ) -> None:
        self._tools = tools
        self._keeper = keeper
        self._slots = slots
        self._suspect_crashes = suspect_crashes
        self._running: dict[str, tuple[Job, asyncio.Task[None]]] = {}
        self.full = asyncio.Event()
        self.on_end: Callable[[Job], None] = lambda _: None

    def __len__(self) -> int:
        return len(self._running)

    @property
    def deltas(self) -> int:
        """The deltas of the attempts under way."""
        return sum(job.deltas for job, _ in self._running.values())

    @property
    def has_suspect(self) -> bool:
        """Whether a request runs that is one crash short of poison."""
        return any(job.lease.crashes >= self._suspect_crashes for job, _ in self._running.values())

    def start(self, lease: Lease) -> None:
        """Run a claimed request."""
        job = Job(lease, self._tools)
        task = asyncio.create_task(job.run(), name=f"job {lease.request_id}")
        self._running[lease.request_id] = (job, task)
        if len(self._running) >= self._slots:
            self.full.set()
        self._keeper.add(job)
        task.add_done_callback(lambda done: self._ended(job, done))

    def cancelled(self, request_id: str) -> None:
        """Stop the job of a request that another process has ended, if it runs here."""
        if request_id in self._running:
            job, _ = self._running[request_id]
            job.cancelled_at_s = time.monotonic()
            job.fenced(job.lease)

    def listed(self) -> list[tuple[Job, asyncio.Task[None]]]:
        """The jobs and their tasks, the first claimed first."""
        return list(self._running.values())

    async def finish(self) -> None:
        """Return when no job is left."""
        while self._running:
            await asyncio.wait({task for _, task in self._running.values()})

    def _ended(self, job: Job, task: asyncio.Task[None]) -> None:
        self._keeper.discard(job)
        self._running.pop(job.lease.request_id, None)
        if job.cancelled_at_s is not None:
            took_s = time.monotonic() - job.cancelled_at_s
            self._tools.counters.times.cancel.observe(took_s)
        if len(self._running) < self._slots:
            self.full.clear()
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("job broke", request_id=job.lease.request_id, error=type(error).__name__)
        self.on_end(job)
