"""Renews the leases of all running jobs."""

import asyncio
import itertools
from collections.abc import Iterable, Iterator

import structlog

from tickertape.broker import request_ids
from tickertape.broker.queue import MOST_RENEWALS, Queue
from tickertape.broker.task_faults import TaskFaults
from tickertape.runtime.pulse import Pulse
from tickertape.worker.job import Job
from tickertape.worker.outcome import Stop

log = structlog.get_logger()

_TASK = "lease renewals"
_RENEWALS_PER_LEASE = 3
# Thousands of renewals at once would delay every answer, so they are spread over this many turns.
_TURNS = 20
# A dead connection must not hold up a renewal for all time-outs and repeats of a command.
_LEAST_PATIENCE_S = 1.0


class LeaseKeeper:
    """Renews each lease three times per lease time; stops a job whose renewal is refused.

    One call renews many leases of one partition. A slow call delays no other call, so that a dead
    connection costs the leases of one turn, not all. The `pulse` is silent when a turn begins
    `silence_limit_s` later than a whole round takes.
    """

    def __init__(
        self,
        queue: Queue,
        lease_s: float,
        *,
        silence_limit_s: float = 30.0,
        faults: TaskFaults | None = None,
    ) -> None:
        self._queue = queue
        self._faults = faults or TaskFaults()
        self._every_s = lease_s / _RENEWALS_PER_LEASE
        self._under_way: set[Job] = set()
        self._jobs_by_turn: tuple[set[Job], ...] = tuple(set() for _ in range(_TURNS))
        self.pulse = Pulse(self._every_s + silence_limit_s)

    def add(self, job: Job) -> None:
        """Renew the lease of a job from its turn in the next round on."""
        self._jobs_of_turn(job).add(job)

    def discard(self, job: Job) -> None:
        """Renew the lease of a job no more."""
        self._jobs_of_turn(job).discard(job)

    async def run(self) -> None:
        """Renew until cancelled."""
        async with asyncio.TaskGroup() as renewals:
            for jobs in itertools.cycle(self._jobs_by_turn):
                self.pulse.beat()
                await asyncio.sleep(self._every_s / _TURNS)
                for batch in _batches(jobs - self._under_way):
                    self._under_way.update(batch)
                    renewals.create_task(self._renew(batch), name="renewal")

    def _jobs_of_turn(self, job: Job) -> set[Job]:
        return self._jobs_by_turn[hash(job.lease.request_id) % _TURNS]

    async def _renew(self, batch: list[Job]) -> None:
        try:
            held = [(job, job.lease) for job in batch if not _is_hanging(job)]
            if not held:
                return
            async with asyncio.timeout(max(self._every_s, _LEAST_PATIENCE_S)):
                refused = await self._queue.renew([lease for _, lease in held])
            self._faults.worked(_TASK)
            for job, lease in held:
                if any(lease is each for each in refused):
                    job.fenced(lease)
        except TimeoutError:
            log.warning("leases not renewed", count=len(batch))
        except Exception as error:  # noqa: BLE001  # one batch must not end the worker
            # The jobs go on, because Redis checks at each write who may write.
            self._faults.failed(_TASK, error)
        finally:
            self._under_way.difference_update(batch)


def _batches(jobs: Iterable[Job]) -> Iterator[list[Job]]:
    """The jobs in parts of one partition each, in the size of one call."""
    by_partition: dict[int, list[Job]] = {}
    for job in jobs:
        by_partition.setdefault(request_ids.partition_of(job.lease.request_id), []).append(job)
    for of_partition in by_partition.values():
        for start in range(0, len(of_partition), MOST_RENEWALS):
            yield of_partition[start : start + MOST_RENEWALS]


def _is_hanging(job: Job) -> bool:
    """Whether the job missed its own limits; stops it then, so that another worker may take over.

    Another worker may not hang on the same cause.
    """
    if job.is_overdue:
        log.error("job hangs", request_id=job.lease.request_id)
        job.stop(Stop.FENCED)
    return job.is_overdue
