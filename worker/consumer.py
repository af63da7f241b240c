"""The consumer: claims requests while slots are free, and releases them on a drain."""

import asyncio
import contextlib
from dataclasses import dataclass

import structlog

from tickertape.broker.leases import Lease
from tickertape.worker.claim_loop import ClaimLoop
from tickertape.worker.claim_timing import ClaimTiming
from tickertape.worker.interruption import Interruption
from tickertape.worker.lease_keeper import LeaseKeeper
from tickertape.worker.outcome import Stop
from tickertape.worker.running_jobs import RunningJobs
from tickertape.worker.tools import Tools

log = structlog.get_logger()


@dataclass(frozen=True)
class ConsumerTiming(ClaimTiming):
    """The pauses and limits of a consumer. Tests pass shorter ones."""

    # A release that takes longer means that Redis is away. Expired leases return the requests.
    release_limit_s: float = 3.0
    # A cancelled job ends within a few turns of the loop. One that does not end is left behind.
    end_limit_s: float = 1.0
    # If Redis is away this long during a drain, both were most likely stopped together.
    # A restart or a fail-over of Redis takes less.
    away_limit_s: float = 15.0
    check_every_s: float = 0.25
    # The lease keeper counts as hanging when its next turn is later than a whole round by this.
    renewal_silence_limit_s: float = 30.0


_TIMING = ConsumerTiming()


class Consumer:
    """Runs up to `slots` jobs at a time, from all partitions in turn.

    `stop` ends the claiming, and `run` returns when no job is left. Jobs that outlast the grace
    are released, the last claimed first, so that the queue keeps its order.
    """

    def __init__(
        self,
        tools: Tools,
        *,
        slots: int,
        partitions: int,
        lease_s: float,
        suspect_crashes: int,
        timing: ConsumerTiming = _TIMING,
    ) -> None:
        self._timing = timing
        self._tools = tools
        self._keeper = LeaseKeeper(
            tools.queue,
            lease_s,
            silence_limit_s=timing.renewal_silence_limit_s,
            faults=tools.faults,
        )
        self._jobs = RunningJobs(tools, self._keeper, slots=slots, suspect_crashes=suspect_crashes)
        self._claims = ClaimLoop(
            tools,
            self._jobs,
            slots=slots,
            partitions=partitions,
            lease_s=lease_s,
            timing=timing,
        )
        # `stop` also interrupts the preparations before the first claim.
        self.start_up = Interruption()
        self._is_claiming = False
        self.full = self._jobs.full  # jobs take all slots, so that other work gives way
        self._stopping = asyncio.Event()
        self._grace = Interruption()

    @property
    def pools(self) -> tuple[str, ...]:
        """The pools that this worker claims from."""
        return self._tools.queue.pools

    @property
    def running(self) -> int:
        """The number of jobs under way."""
        return len(self._jobs)

    @property
    def leases(self) -> list[Lease]:
        """The leases of the jobs under way."""
        return [job.lease for job, _ in self._jobs.listed()]

    @property
    def running_deltas(self) -> int:
        """The deltas of the attempts under way."""
        return self._jobs.deltas

    @property
    def is_idle(self) -> bool:
        """Whether a slot is free and the last claim of each partition found nothing."""
        return not self.is_stopping and not self.full.is_set() and self._claims.found_nothing

    @property
    def is_claiming(self) -> bool:
        """Whether `run` was called."""
        return self._is_claiming

    @property
    def is_stopping(self) -> bool:
        """Whether `stop` was called."""
        return self._stopping.is_set()

    @property
    def silent_loops(self) -> list[str]:
        """The loops that hang. Only a restart of this process can help."""
        claims_hang = not self.is_stopping and self._claims.is_silent
        silence = {"claim": claims_hang, "lease": self._keeper.pulse.is_silent}
        return [name for name, is_silent in silence.items() if is_silent]

    def stop(self) -> None:
        """Claim no more, and interrupt `start_up`; a second call ends the grace."""
        if self.is_stopping:
            self._grace.interrupt(Stop.DRAINED)
        self._stopping.set()
        self.start_up.interrupt(Stop.DRAINED)
        self._claims.stop()

    def wake(self, partition: int) -> None:
        """Claim from a partition, because it may have work."""
        self._claims.wake(partition)

    def resize(self, partitions: int) -> None:
        """Claim from this many partitions from now on."""
        self._claims.resize(partitions)

    def cancelled(self, request_id: str) -> None:
        """Stop the job of a request that another process has ended, if it runs here.

        Without this call, its upstream would generate until the next write.
        """
        self._jobs.cancelled(request_id)

    async def run(self, grace_s: float) -> None:
        """Claim and run jobs until stopped; then wait `grace_s` for them, and release the rest."""
        self._is_claiming = True
        async with asyncio.TaskGroup() as group:
            keeping = group.create_task(self._keeper.run(), name="lease keeper")
            claiming = group.create_task(self._claims.run(), name="claim loop")
            try:
                await self._stopping.wait()
                await self._drain(claiming, grace_s)
            finally:
                # A claim whose reply is there already begins one more job.
                await self._ended(keeping, claiming)
                await self._ended(*(task for _, task in self._jobs.listed()))

    async def _ended(self, *tasks: asyncio.Task[None]) -> None:
        """Cancel tasks, and let them end, because their connections are closed after this."""
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=self._timing.end_limit_s)

    async def _drain(self, claiming: asyncio.Task[None], grace_s: float) -> None:
        log.info("draining", running=self.running, grace_s=grace_s)
        watching = asyncio.create_task(self._end_grace_without_redis(), name="drain watch")
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(grace_s):
                    await self._grace.run(lambda: self._finish_jobs(claiming))
        finally:
            watching.cancel()
        limit_s = self._timing.release_limit_s if self._tools.appender.is_ready else 0.0
        for job, task in reversed(self._jobs.listed()):
            job.stop(Stop.DRAINED)
            done, _ = await asyncio.wait({task}, timeout=limit_s)
            if not done:
                limit_s = 0.0

    async def _finish_jobs(self, claiming: asyncio.Task[None]) -> None:
        # A claim under way may bring one more job. Without Redis, it ends late.
        await asyncio.wait({claiming})
        await self._jobs.finish()

    async def _end_grace_without_redis(self) -> None:
        """End the grace if Redis stays away: jobs can then be neither finished nor released.

        Other workers claim the requests when the leases run out.
        """
        away_s, every_s = 0.0, self._timing.check_every_s
        while away_s < self._timing.away_limit_s:
            await asyncio.sleep(every_s)
            away_s = 0.0 if self._tools.appender.is_ready else away_s + every_s
        log.warning("draining without Redis")
        self._grace.interrupt(Stop.DRAINED)
