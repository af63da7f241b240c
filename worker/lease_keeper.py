"""Keeps the leases of all running jobs: the only renewer there is."""

import asyncio

import structlog

from broker.errors import Fenced, Unavailable
from broker.queue import Queue
from worker.job import Job

log = structlog.get_logger()

_RENEWALS_PER_LEASE = 3


class LeaseKeeper:
    """Renews every third of a lease; tells a job whose renewal is refused."""

    def __init__(self, queue: Queue, lease_s: float) -> None:
        self._queue = queue
        self._every_s = lease_s / _RENEWALS_PER_LEASE
        self.jobs: set[Job] = set()

    async def run(self) -> None:
        """Renew until cancelled."""
        while True:
            await asyncio.sleep(self._every_s)
            await asyncio.gather(*(self._renew(job) for job in list(self.jobs)))

    async def _renew(self, job: Job) -> None:
        lease = job.lease
        try:
            await self._queue.renew(lease)
        except Fenced:
            job.fenced(lease)
        except Unavailable:
            # Not for us to judge: whoever is allowed to write is decided in Redis, at each write.
            log.warning("lease not renewed", request_id=lease.request_id)
