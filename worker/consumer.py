"""The claim loop: takes requests while there are free slots, and gives them back on a drain."""

import asyncio
import contextlib
import secrets
from collections.abc import Iterable

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

# Behind every wake-up there is a look of its own: a token may be lost, and a lease may run out.
POLL_S = 1.0
_UNAVAILABLE_PAUSE_S = 0.5
_MOST_CLAIMS_AT_ONCE = 16
# One release that takes longer means that Redis is away: the leases give everything back then.
_RELEASE_LIMIT_S = 3.0
# Gone for this long while we drain: most likely whoever started it and us is gone, too.
_AWAY_LIMIT_S = 2.0
_LOOK_EVERY_S = 0.25
# Beyond a claim that uses up all its time-outs and repeats: see broker/connections.py.
_SILENCE_LIMIT_S = 60.0


class StoppedError(Exception):
    """The consumer was told to stop while it waited."""


class Consumer:
    """Runs up to `slots` jobs at a time, from all partitions in turn.

    `stop` ends the claiming; `run` returns when no job is left. Jobs are never waited for beyond
    the grace: they are given back, the last claimed first, so that the line keeps its order.
    """

    def __init__(
        self, tools: Tools, *, slots: int, partitions: int, lease_s: float, suspect_crashes: int
    ) -> None:
        self._tools = tools
        self._queue: Queue = tools.queue
        self._slots = asyncio.Semaphore(slots)
        self._partitions = partitions
        self._suspect_crashes = suspect_crashes
        self._keeper = LeaseKeeper(tools.queue, lease_s)
        self._running: dict[str, tuple[Job, asyncio.Task[None]]] = {}
        # Left by `stop`: what has to be done before the first claim.
        self.start_up = Interruption()
        self._pulses = [Pulse(_SILENCE_LIMIT_S) for _ in range(partitions)]
        self._stopping = asyncio.Event()
        self._waits = [Interruption() for _ in range(partitions)]
        self._grace = Interruption()

    @property
    def running(self) -> int:
        """Jobs under way."""
        return len(self._running)

    @property
    def is_stopping(self) -> bool:
        """Whether `stop` was called."""
        return self._stopping.is_set()

    @property
    def silent_loops(self) -> list[str]:
        """The loops that hang. Nothing but a restart of this process will mend that."""
        claims_hang = not self.is_stopping and any(pulse.is_silent for pulse in self._pulses)
        found = {"claim": claims_hang, "lease": self._keeper.pulse.is_silent}
        return [name for name, is_silent in found.items() if is_silent]

    def stop(self) -> None:
        """Take no more, and leave `start_up`; a second call ends the grace."""
        if self.is_stopping:
            self._grace.interrupt(StoppedError())
        self._stopping.set()
        self.start_up.interrupt(StoppedError())
        for wait in self._waits:
            wait.interrupt(StoppedError())

    def cancelled(self, request_id: str) -> None:
        """Someone ended this request: do not let its upstream go on until the next write."""
        if request_id in self._running:
            job, _ = self._running[request_id]
            job.fenced(job.lease)

    async def run(self, grace_s: float) -> None:
        """Claim and run jobs until stopped; then wait `grace_s` for them, and release the rest."""
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
        """Claim one at a time while little comes, and twice as many each time while more is there.

        One after the other, each after its own round trip, would make a crowd wait in line while
        slots are free; many at once would leave nothing for the workers beside us.
        """
        at_once = 1
        while not self._stopping.is_set():
            self._pulses[partition].beat()
            slots = await self._take_slots(at_once)
            if not slots:
                await self._reap(partition)
                continue
            suspect_ok = not self._holds_suspect()
            # Of several at once only the first may bring a suspect: a worker holds one at most.
            claims = [self._claim(partition, suspect_ok and n == 0) for n in range(slots)]
            claimed = await asyncio.gather(*claims)
            # As they stood in line, for when they have to be given back.
            leases = sorted(
                (each for each in claimed if isinstance(each, Lease)), key=lambda each: each.attempt
            )
            for lease in leases:
                self._start(lease)
            for _ in range(slots - len(leases)):
                self._slots.release()
            at_once = min(2 * at_once, _MOST_CLAIMS_AT_ONCE)
            # One that found the line empty behind it is enough: whatever has come since has left a
            # token that ends the wait.
            if later := [each for each in claimed if each.next_ms != 0]:
                at_once = 1
                await self._wait_for_work(partition, min(map(_limit_s, later)))

    async def _take_slots(self, wanted: int) -> int:
        """Take free slots, `wanted` at most. Without any, wait a little for one; 0 if in vain."""
        try:
            async with asyncio.timeout(POLL_S):
                await self._slots.acquire()
        except TimeoutError:
            return 0
        taken = 1
        while taken < wanted and not self._slots.locked():
            await self._slots.acquire()
            taken += 1
        return taken

    async def _reap(self, partition: int) -> None:
        """Without a free slot: put what is due back in line, so that others can take it."""
        try:
            await self._queue.claim(partition, secrets.token_hex(8), take=False)
        except Unavailable as error:
            log.warning("queue not reached", reason=str(error))
        except Exception as error:  # as in `_claim`
            log.exception("claim broke", partition=partition, error=str(error))

    async def _claim(self, partition: int, suspect_ok: bool) -> Lease | Nothing:  # noqa: FBT001  # internal
        """The next request, if there is one.

        A claim is never cancelled: one whose reply is thrown away would hold its request until the
        lease runs out, and count as a crash.
        """
        nonce = secrets.token_hex(8)
        while not self._stopping.is_set():
            self._pulses[partition].beat()
            try:
                return await self._queue.claim(partition, nonce, suspect_ok=suspect_ok)
            except Unavailable as error:
                # The same nonce: if the claim did happen, the same request is answered again.
                log.warning("queue not reached", reason=str(error))
                await wait_at_most(self._stopping, _UNAVAILABLE_PAUSE_S)
            except Exception as error:  # whatever it is, our jobs have to go on
                log.exception("claim broke", partition=partition, error=str(error))
                await wait_at_most(self._stopping, _UNAVAILABLE_PAUSE_S)
                # A new nonce: this one might renew the lease of what broke it for ever.
                return Nothing(0)
        return Nothing(None)

    async def _wait_for_work(self, partition: int, limit_s: float) -> None:
        """Return when there may be something to claim, or when told to stop."""
        try:
            async with self._waits[partition]:
                await self._queue.wait(partition, limit_s)
        except StoppedError:
            return
        except Unavailable:
            await wait_at_most(self._stopping, _UNAVAILABLE_PAUSE_S)

    def _start(self, lease: Lease) -> None:
        job = Job(lease, self._tools)
        task = asyncio.create_task(job.run(), name=f"job {lease.request_id}")
        self._running[lease.request_id] = (job, task)
        self._keeper.jobs.add(job)
        task.add_done_callback(lambda done: self._ended(job, done))

    def _ended(self, job: Job, task: asyncio.Task[None]) -> None:
        self._slots.release()
        self._keeper.jobs.discard(job)
        self._running.pop(job.lease.request_id, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("job broke", request_id=job.lease.request_id, error=type(error).__name__)

    def _holds_suspect(self) -> bool:
        return any(job.lease.crashes >= self._suspect_crashes for job, _ in self._running.values())

    async def _drain(self, claiming: Iterable[asyncio.Task[None]], grace_s: float) -> None:
        log.info("draining", running=self.running, grace_s=grace_s)
        watching = asyncio.create_task(self._end_grace_without_redis(), name="drain watch")
        try:
            with contextlib.suppress(TimeoutError, StoppedError):
                async with self._grace, asyncio.timeout(grace_s):
                    # A claim under way may bring one more job; with Redis away it takes its time.
                    await asyncio.wait(claiming)
                    while self._running:
                        await asyncio.wait({task for _, task in self._running.values()})
        finally:
            watching.cancel()
        limit_s = _RELEASE_LIMIT_S if self._tools.appender.is_ready else 0.0
        for job, task in reversed(list(self._running.values())):
            job.stop(Stop.DRAINED)
            done, _ = await asyncio.wait({task}, timeout=limit_s)
            if not done:
                limit_s = 0.0

    async def _end_grace_without_redis(self) -> None:
        """What we hold can be neither finished nor given back then; the leases do that."""
        away_s = 0.0
        while away_s < _AWAY_LIMIT_S:
            await asyncio.sleep(_LOOK_EVERY_S)
            away_s = 0.0 if self._tools.appender.is_ready else away_s + _LOOK_EVERY_S
        log.warning("draining without Redis")
        self._grace.interrupt(StoppedError())


def _limit_s(claimed: Lease | Nothing) -> float:
    return POLL_S if claimed.next_ms is None else min(POLL_S, claimed.next_ms / 1000)
