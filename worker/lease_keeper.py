"""Keeps the leases of all running jobs: the only renewer there is."""

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
# A thousand leases renewed in one go would keep every answer waiting for as many calls.
_TURNS = 20
# One connection that went dead must not hold up a renewal for all of a command's time-outs.
_LEAST_PATIENCE_S = 1.0
_SILENCE_LIMIT_S = 30.0


class LeaseKeeper:
    """Renews every third of a lease, each at its turn; tells a job whose renewal is refused.

    A renewal that takes long holds up no other: of many leases one dead connection costs one.
    """

    def __init__(self, queue: Queue, lease_s: float) -> None:
        self._queue = queue
        self._every_s = lease_s / _RENEWALS_PER_LEASE
        self._under_way: set[Job] = set()
        self.jobs: set[Job] = set()
        self.pulse = Pulse(self._every_s + _SILENCE_LIMIT_S)

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
                # It should have ended by itself. Whatever it hangs on, another worker may not.
                log.error("job hangs", request_id=lease.request_id)
                job.stop(Stop.FENCED)
                return
            async with asyncio.timeout(max(self._every_s, _LEAST_PATIENCE_S)):
                await self._queue.renew(lease)
        except Fenced:
            job.fenced(lease)
        except (Unavailable, TimeoutError):
            # Not for us to judge: whoever is allowed to write is decided in Redis, at each write.
            log.warning("lease not renewed", request_id=lease.request_id)
        finally:
            self._under_way.discard(job)
