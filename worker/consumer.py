"""The claim loop: claims requests while slots are free, and releases them on a drain."""

import asyncio
import contextlib
import secrets
from collections.abc import Iterable
from dataclasses import dataclass

import structlog

from tickertape.broker.errors import Unavailable
from tickertape.broker.queue import Lease, Nothing, Queue
from tickertape.runtime.pulse import Pulse
from tickertape.runtime.wait import wait_at_most
from tickertape.worker.interruption import Interruption
from tickertape.worker.job import Job
from tickertape.worker.lease_keeper import LeaseKeeper
from tickertape.worker.outcome import Stop
from tickertape.worker.tools import Tools

log = structlog.get_logger()

_MOST_CLAIMS_AT_ONCE = 16


@dataclass(frozen=True)
class ConsumerTiming:
    """The pauses and limits of a consumer. Tests pass shorter ones."""

    # Claims are also tried without a wake token, because tokens can be lost and leases expire.
    poll_s: float = 1.0
    unavailable_pause_s: float = 0.5
    # A release that takes longer means that Redis is away. Expired leases return the requests.
    release_limit_s: float = 3.0
    # If Redis is away this long during a drain, both were most likely stopped together.
    away_limit_s: float = 2.0
    check_every_s: float = 0.25
    # Longer than a claim that uses up all its time-outs and repeats; see broker/connections.py.
    silence_limit_s: float = 60.0
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
        self._queue: Queue = tools.queue
        self._slots = asyncio.Semaphore(slots)
        self._partitions = partitions
        self._suspect_crashes = suspect_crashes
        self._keeper = LeaseKeeper(
            tools.queue, lease_s, silence_limit_s=timing.renewal_silence_limit_s
        )
        self._running: dict[str, tuple[Job, asyncio.Task[None]]] = {}
        # `stop` also interrupts the preparations before the first claim.
        self.start_up = Interruption()
        self._is_claiming = False
        self.full = asyncio.Event()  # jobs take all slots, so that other work gives way
        self._is_queue_empty = [False] * partitions
        self._slot_count = slots
        self._pulses = [Pulse(timing.silence_limit_s) for _ in range(partitions)]
        self._stopping = asyncio.Event()
        self._waits = [Interruption() for _ in range(partitions)]
        self._grace = Interruption()

    @property
    def running(self) -> int:
        """The number of jobs under way."""
        return len(self._running)

    @property
    def running_deltas(self) -> int:
        """The deltas of the attempts under way."""
        return sum(job.deltas for job, _ in self._running.values())

    @property
    def is_idle(self) -> bool:
        """Whether a slot is free and the last claim of each partition found nothing."""
        return not self.is_stopping and not self.full.is_set() and all(self._is_queue_empty)

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
        claims_hang = not self.is_stopping and any(pulse.is_silent for pulse in self._pulses)
        silence = {"claim": claims_hang, "lease": self._keeper.pulse.is_silent}
        return [name for name, is_silent in silence.items() if is_silent]

    def stop(self) -> None:
        """Claim no more, and interrupt `start_up`; a second call ends the grace."""
        if self.is_stopping:
            self._grace.interrupt(Stop.DRAINED)
        self._stopping.set()
        self.start_up.interrupt(Stop.DRAINED)
        for wait in self._waits:
            wait.interrupt(Stop.DRAINED)

    def cancelled(self, request_id: str) -> None:
        """Stop the job of a request that another process has ended, if it runs here.

        Without this call, its upstream would generate until the next write.
        """
        if request_id in self._running:
            job, _ = self._running[request_id]
            job.fenced(job.lease)

    async def run(self, grace_s: float) -> None:
        """Claim and run jobs until stopped; then wait `grace_s` for them, and release the rest."""
        self._is_claiming = True
        async with asyncio.TaskGroup() as group:
            keeping = group.create_task(self._keeper.run(), name="lease keeper")
            claiming = [
                group.create_task(self._claim_from(partition), name=f"claim {partition}")
                for partition in range(self._partitions)
            ]
            try:
                await self._stopping.wait()
                await self._drain(claiming, grace_s)
            finally:
                for task in (keeping, *claiming, *(task for _, task in self._running.values())):
                    task.cancel()

    async def _claim_from(self, partition: int) -> None:
        """Claim one request at a time, and twice as many each time while the queue has more.

        Single claims, one round trip each, would leave requests waiting while slots are free. Many
        claims at once would leave no requests for the other workers.
        """
        at_once = 1
        while not self._stopping.is_set():
            self._pulses[partition].beat()
            slots = await self._acquire_slots(at_once)
            if not slots:
                await self._reap(partition)
                continue
            suspect_ok = not self._holds_suspect()
            # Only the first of several claims may return a suspect: a worker holds at most one.
            claims = [self._claim(partition, suspect_ok and n == 0) for n in range(slots)]
            claimed = await asyncio.gather(*claims)
            # In the order of the queue, which a drain restores.
            leases = sorted(
                (claim for claim in claimed if isinstance(claim, Lease)),
                key=lambda lease: lease.attempt,
            )
            for lease in leases:
                self._start(lease)
            for _ in range(slots - len(leases)):
                self._slots.release()
            at_once = min(2 * at_once, _MOST_CLAIMS_AT_ONCE)
            # If one claim found the queue empty, the loop waits. A request submitted since then has
            # left a token, which ends the wait.
            later = [claim for claim in claimed if claim.next_ms != 0]
            self._is_queue_empty[partition] = bool(later)
            if later:
                at_once = 1
                await self._wait_for_work(partition, min(map(self._limit_s, later)))

    async def _acquire_slots(self, wanted: int) -> int:
        """Acquire at most `wanted` free slots; waits briefly for the first. The number acquired."""
        try:
            async with asyncio.timeout(self._timing.poll_s):
                await self._slots.acquire()
        except TimeoutError:
            return 0
        acquired = 1
        while acquired < wanted and not self._slots.locked():
            await self._slots.acquire()
            acquired += 1
        return acquired

    async def _reap(self, partition: int) -> None:
        """Put due requests back into the queue for other workers, while no slot is free here."""
        try:
            await self._queue.claim(partition, secrets.token_hex(8), take=False)
        except Unavailable as error:
            log.warning("queue not reached", reason=str(error))
        except Exception as error:  # as in `_claim`
            log.exception("claim broke", partition=partition, error=str(error))

    async def _claim(self, partition: int, suspect_ok: bool) -> Lease | Nothing:  # noqa: FBT001  # internal
        """The next request, if there is one.

        A claim is never cancelled. A claim whose reply is lost would hold its request until the
        lease runs out, and count as a crash.
        """
        nonce = secrets.token_hex(8)
        while not self._stopping.is_set():
            self._pulses[partition].beat()
            try:
                return await self._queue.claim(
                    partition,
                    nonce,
                    suspect_ok=suspect_ok,
                    can_continue=self._tools.upstream.profile.can_continue,
                )
            except Unavailable as error:
                # If the claim did succeed, the same nonce gets the same request again.
                log.warning("queue not reached", reason=str(error))
                await wait_at_most(self._stopping, self._timing.unavailable_pause_s)
            except Exception as error:  # the running jobs must go on
                log.exception("claim broke", partition=partition, error=str(error))
                await wait_at_most(self._stopping, self._timing.unavailable_pause_s)
                # The next claim has a new nonce. This nonce might get the request that broke the
                # claim again, and renew its lease indefinitely.
                return Nothing(0)
        return Nothing(None)

    def _limit_s(self, claimed: Lease | Nothing) -> float:
        poll_s = self._timing.poll_s
        return poll_s if claimed.next_ms is None else min(poll_s, claimed.next_ms / 1000)

    async def _wait_for_work(self, partition: int, limit_s: float) -> None:
        """Return when there may be a request to claim, or when the consumer is stopped."""
        try:
            await self._waits[partition].run(lambda: self._queue.wait(partition, limit_s))
        except Unavailable:
            await wait_at_most(self._stopping, self._timing.unavailable_pause_s)

    def _start(self, lease: Lease) -> None:
        job = Job(lease, self._tools)
        task = asyncio.create_task(job.run(), name=f"job {lease.request_id}")
        self._running[lease.request_id] = (job, task)
        if len(self._running) >= self._slot_count:
            self.full.set()
        self._keeper.jobs.add(job)
        task.add_done_callback(lambda done: self._ended(job, done))

    def _ended(self, job: Job, task: asyncio.Task[None]) -> None:
        self._slots.release()
        self._keeper.jobs.discard(job)
        self._running.pop(job.lease.request_id, None)
        if len(self._running) < self._slot_count:
            self.full.clear()
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("job broke", request_id=job.lease.request_id, error=type(error).__name__)

    def _holds_suspect(self) -> bool:
        return any(job.lease.crashes >= self._suspect_crashes for job, _ in self._running.values())

    async def _drain(self, claiming: Iterable[asyncio.Task[None]], grace_s: float) -> None:
        log.info("draining", running=self.running, grace_s=grace_s)
        watching = asyncio.create_task(self._end_grace_without_redis(), name="drain watch")
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(grace_s):
                    await self._grace.run(lambda: self._finish_jobs(claiming))
        finally:
            watching.cancel()
        limit_s = self._timing.release_limit_s if self._tools.appender.is_ready else 0.0
        for job, task in reversed(list(self._running.values())):
            job.stop(Stop.DRAINED)
            done, _ = await asyncio.wait({task}, timeout=limit_s)
            if not done:
                limit_s = 0.0

    async def _finish_jobs(self, claiming: Iterable[asyncio.Task[None]]) -> None:
        # A claim under way may bring one more job. Without Redis, it ends late.
        await asyncio.wait(claiming)
        while self._running:
            await asyncio.wait({task for _, task in self._running.values()})

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
