"""The claim loop: claims from all partitions in turn, where there may be work."""

import asyncio
import contextlib
import secrets
import time
from collections import defaultdict
from collections.abc import Hashable
from functools import partial

import structlog

from tickertape.broker import request_ids
from tickertape.broker.errors import Unavailable
from tickertape.broker.leases import Lease, Nothing
from tickertape.runtime.pulse import Pulse
from tickertape.runtime.wait import wait_at_most
from tickertape.worker.claim_timing import ClaimTiming
from tickertape.worker.job import Job
from tickertape.worker.look_schedule import LookSchedule
from tickertape.worker.reachability import SHORTEST_OUTAGE_S, Reachability
from tickertape.worker.running_jobs import RunningJobs
from tickertape.worker.tools import Tools
from tickertape.worker.turns import Turns

log = structlog.get_logger()

_MOST_CLAIMS_AT_ONCE = 16
_LEAST_PAUSE_S = 0.001


class ClaimLoop:
    """Claims requests for free slots and starts their jobs.

    Redis wakes one idle worker for each request that can be claimed. A worker that is woken and has
    no slot free passes the wake on. `pulse` and the pulses of the visits show a loop that hangs.
    """

    def __init__(
        self,
        tools: Tools,
        jobs: RunningJobs,
        *,
        slots: int,
        partitions: int,
        lease_s: float,
        timing: ClaimTiming,
    ) -> None:
        self._tools = tools
        self._queue = tools.queue
        self._jobs = jobs
        self._timing = timing
        self._partitions = partitions
        self._free = slots
        self._turns = Turns(partitions)
        self._at_once = [1] * partitions
        self._schedule = LookSchedule(partitions, time.monotonic(), timing.poll_s, tools.rng)
        self._next_check_s = 0.0
        pause_limit_s = max(lease_s / 2, SHORTEST_OUTAGE_S)
        self._reachable = defaultdict[Hashable, Reachability](lambda: Reachability(pause_limit_s))
        # A server that is away gets one claim at a time, so that its partitions hold no slots that
        # those of other servers need.
        self._failing: dict[int, Hashable] = {}
        self._asks_for_suspect = False
        # Where Redis may list this worker as idle.
        self._listed: set[int] = set()
        self._stopping = asyncio.Event()
        self._changed = asyncio.Event()
        self._group: asyncio.TaskGroup | None = None
        self._pauses_until_s = 0.0
        self._pulse = Pulse(timing.silence_limit_s)
        self._visit_pulses: dict[int, Pulse] = {}
        jobs.on_end = self._ended

    @property
    def found_nothing(self) -> bool:
        """Whether the last claim of each partition found no more."""
        return self._turns.is_empty

    @property
    def is_silent(self) -> bool:
        """Whether the loop or one of its claims hangs."""
        return any(pulse.is_silent for pulse in (self._pulse, *self._visit_pulses.values()))

    def stop(self) -> None:
        """Claim no more."""
        self._stopping.set()
        self._changed.set()

    def wake(self, partition: int) -> None:
        """Claim from a partition, because it may have work. One that was dropped is ignored."""
        if partition < self._partitions:
            self._turns.wake(partition)
            self._go_on()

    def resize(self, partitions: int) -> None:
        """Claim from this many partitions from now on. Those that are dropped must be empty."""
        before, self._partitions = self._partitions, partitions
        self._at_once += [1] * (partitions - len(self._at_once))
        self._schedule.resize(partitions, time.monotonic())
        self._listed = {n for n in self._listed if n < partitions}
        self._turns.drop_from(partitions)
        for partition in range(before, partitions):
            self.wake(partition)

    async def run(self) -> None:
        """Claim until stopped; then finish the claims under way, and be listed as idle no more."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            try:
                while not self._stopping.is_set():
                    self._pulse.beat()
                    self._begin_visits(group)
                    self._begin_looks(group)
                    pause_s = min(self._timing.poll_s, self._schedule.pause_s(time.monotonic()))
                    self._pauses_until_s = time.monotonic() + pause_s
                    await wait_at_most(self._changed, max(pause_s, _LEAST_PAUSE_S))
                    self._changed.clear()
            finally:
                self._group = None
        if self._tools.appender.is_ready:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._timing.poll_s):
                    await asyncio.gather(*map(self._take_nothing, sorted(self._listed)))

    def _go_on(self) -> None:
        """Begin the visits that are possible now. Wake the loop only for an earlier look."""
        if self._group is not None and not self._stopping.is_set():
            self._begin_visits(self._group)
            if self._schedule.pause_s(self._pauses_until_s - _LEAST_PAUSE_S) == 0:
                self._changed.set()

    def _begin_visits(self, group: asyncio.TaskGroup) -> None:
        blocked = self._blocked()
        while self._free and (partition := self._turns.choose(blocked)) is not None:
            slots = min(self._at_once[partition], self._free)
            self._free -= slots
            self._turns.begin(partition)
            # A worker holds at most one suspect, so one claim at a time may return one.
            may_take_suspect = not (self._jobs.has_suspect or self._asks_for_suspect)
            self._asks_for_suspect |= may_take_suspect
            group.create_task(
                self._visit(partition, slots, may_take_suspect=may_take_suspect),
                name=f"claim {partition}",
            )
        if self._jobs.full.is_set():
            for partition in self._turns.woken():
                self._turns.begin(partition)
                group.create_task(self._pass_on(partition), name=f"pass on {partition}")

    def _blocked(self) -> set[int]:
        away = set(self._failing.values())
        if not away:
            return set()
        return {n for n in range(self._partitions) if self._tools.looks.node_of(n) in away}

    async def _visit(self, partition: int, slots: int, *, may_take_suspect: bool) -> None:
        """Claim `slots` requests: one at first, and twice as many each time while there are more.

        Single claims, one round trip each, would leave requests waiting while slots are free. Many
        claims at once would leave no requests for the other workers.
        """
        stays_idle = self._free > 0
        pulse = self._visit_pulses[partition] = Pulse(self._timing.silence_limit_s)
        claim = partial(self._claim, partition, pulse, stays_idle=stays_idle)
        claims = [claim(suspect_ok=may_take_suspect and n == 0) for n in range(slots)]
        claimed = [await claims[0]] if slots == 1 else await asyncio.gather(*claims)
        del self._visit_pulses[partition]
        # In the order of the queue, which a drain restores.
        leases = sorted(
            (each for each in claimed if isinstance(each, Lease)),
            key=lambda lease: lease.attempt,
        )
        for lease in leases:
            self._jobs.start(lease)
        self._free += slots - len(leases)
        self._asks_for_suspect &= not may_take_suspect
        self._failing.pop(partition, None)
        self._conclude(partition, claimed, stays_idle=stays_idle)

    def _conclude(
        self, partition: int, claimed: list[Lease | Nothing], *, stays_idle: bool
    ) -> None:
        """Wait for a wake if a claim found no more and Redis lists this worker as idle."""
        later = [claim for claim in claimed if claim.next_ms != 0]
        is_listed = any(stays_idle or isinstance(claim, Nothing) for claim in later)
        if is_listed:
            self._listed.add(partition)
        self._at_once[partition] = (
            1 if later else min(2 * self._at_once[partition], _MOST_CLAIMS_AT_ONCE)
        )
        due_ms = [claim.next_ms for claim in later if claim.next_ms is not None]
        self._schedule.plan(partition, time.monotonic(), min(due_ms, default=None))
        self._turns.end(partition, has_more=not is_listed)
        self._go_on()

    async def _claim(
        self, partition: int, pulse: Pulse, *, suspect_ok: bool, stays_idle: bool
    ) -> Lease | Nothing:
        """The next request, if there is one.

        A claim is never cancelled. A claim whose reply is lost would hold its request until the
        lease runs out, and count as a crash.
        """
        nonce = secrets.token_hex(8)
        while not self._stopping.is_set():
            pulse.beat()
            try:
                claim = await self._queue.claim(
                    partition,
                    nonce,
                    suspect_ok=suspect_ok,
                    can_continue=self._tools.upstream.continues,
                    stays_idle=stays_idle,
                    reachable_ms=self._reachability(partition).length_ms(time.monotonic()),
                )
            except Unavailable as error:
                # If the claim did succeed, the same nonce gets the same request again.
                log.warning("queue not reached", reason=str(error))
                self._lost(partition)
                self._failing[partition] = self._tools.looks.node_of(partition)
                await wait_at_most(self._stopping, self._timing.unavailable_pause_s)
            except Exception as error:  # the running jobs must go on
                log.exception("claim broke", partition=partition, error=str(error))
                await wait_at_most(self._stopping, self._timing.unavailable_pause_s)
                # The next claim has a new nonce. This nonce might get the request that broke the
                # claim again, and renew its lease indefinitely.
                return Nothing(0)
            else:
                self._answered(partition)
                return claim
        return Nothing(None)

    async def _pass_on(self, partition: int) -> None:
        """Let another worker take what this one has no slot for."""
        await self._take_nothing(partition)
        self._turns.end(partition, has_more=True)

    async def _take_nothing(self, partition: int) -> None:
        """Queue what is due, wake another worker for work, and be listed as idle no more."""
        try:
            await self._queue.claim(partition, secrets.token_hex(8), take=False)
            self._listed.discard(partition)
            self._answered(partition)
        except Unavailable as error:
            log.warning("queue not reached", reason=str(error))
            self._lost(partition)
        except Exception as error:  # as in `_claim`
            log.exception("claim broke", partition=partition, error=str(error))

    def _begin_looks(self, group: asyncio.TaskGroup) -> None:
        now_s = time.monotonic()
        for partition in self._schedule.pop_due(now_s):
            group.create_task(self._look(partition), name=f"look {partition}")
        if self._schedule.is_slow and now_s >= self._next_check_s:
            self._next_check_s = now_s + self._timing.poll_s
            if not self._jobs.full.is_set() and not self._jobs.has_suspect:
                group.create_task(self._check_all(), name="look at all")

    async def _look(self, partition: int) -> None:
        """Find work in a partition that no wake announced, and what is due there."""
        try:
            look = await self._tools.looks.look(partition)
        except Unavailable:
            self._lost(partition)
            return
        except Exception as error:  # as in `_claim`
            log.exception("look broke", partition=partition, error=str(error))
            return
        self._answered(partition)
        self._schedule.plan(partition, time.monotonic(), look.next_ms)
        may_take = look.has_waiting or (look.has_suspects and not self._jobs.has_suspect)
        if look.next_ms == 0 or (may_take and not self._jobs.full.is_set()):
            self.wake(partition)

    async def _check_all(self) -> None:
        """Look at all partitions now if any of them has work, because a round of looks is slow."""
        with contextlib.suppress(Unavailable):
            if await self._tools.looks.has_waiting(self._partitions) and self._turns.is_empty:
                self._schedule.plan_all_now()
                self._changed.set()

    def _reachability(self, partition: int) -> Reachability:
        node = self._tools.looks.node_of(partition)
        return self._reachable[node]

    def _answered(self, partition: int) -> None:
        self._reachability(partition).answered(time.monotonic())

    def _lost(self, partition: int) -> None:
        self._reachability(partition).lost()

    def _ended(self, job: Job) -> None:
        self._free += 1
        if job.due_in_ms is not None:
            partition = request_ids.partition_of(job.lease.request_id)
            self._schedule.plan(partition, time.monotonic(), job.due_in_ms)
        # A loop with free slots has nothing to do for one more.
        if self._free == 1 or job.due_in_ms is not None:
            self._go_on()
