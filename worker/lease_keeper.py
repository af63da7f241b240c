"""Renews the leases of all running jobs."""

import asyncio
import itertools

import structlog

from tickertape.broker.errors import Fenced, Unavailable
from tickertape.broker.queue import Queue
from tickertape.runtime.pulse import Pulse
from tickertape.worker.job import Job
from tickertape.worker.outcome import Stop

log = structlog.get_logger()

_RENEWALS_PER_LEASE = 3
# A thousand renewals at once would delay every answer, so they are spread over this many turns.
_TURNS = 20
# A dead connection must not hold up a renewal for all time-outs and repeats of a command.
_LEAST_PATIENCE_S = 1.0


class LeaseKeeper:
    """Renews each lease three times per lease time; stops a job whose renewal is refused.

    A slow renewal delays no other renewal, so that a dead connection costs one lease, not all. The
    `pulse` is silent when a turn begins `silence_limit_s` later than a whole round takes.
    """

    def __init__(self, queue: Queue, lease_s: float, *, silence_limit_s: float = 30.0) -> None:
        self._queue = queue
        self._every_s = lease_s / _RENEWALS_PER_LEASE
        self._under_way: set[Job] = set()
        self.jobs: set[Job] = set()
        self.pulse = Pulse(self._every_s + silence_limit_s)

    async def run(self) -> None:
        """Renew until cancelled."""
        async with asyncio.TaskGroup() as renewals:
            for turn in itertools.cycle(range(_TURNS)):
                self.pulse.beat()
                await asyncio.sleep(self._every_s / _TURNS)
                for job in self.jobs - self._under_way:
                    if hash(job.lease.request_id) % _TURNS == turn:
                        self._under_way.add(job)
                        renewals.create_task(self._renew(job), name="renewal")

    async def _renew(self, job: Job) -> None:
        lease = job.lease
        try:
            if job.is_overdue:
                # The job missed its own limits. Another worker may not hang on the same cause.
                log.error("job hangs", request_id=lease.request_id)
                job.stop(Stop.FENCED)
                return
            async with asyncio.timeout(max(self._every_s, _LEAST_PATIENCE_S)):
                await self._queue.renew(lease)
        except Fenced:
            job.fenced(lease)
        except (Unavailable, TimeoutError):
            # The job goes on, because Redis checks at each write who may write.
            log.warning("lease not renewed", request_id=lease.request_id)
        finally:
            self._under_way.discard(job)
