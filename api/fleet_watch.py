"""Watches the fleet: reports this process, and notices when no worker asks for work."""

import asyncio
import os
import secrets
import socket
import time
from collections.abc import Callable

import structlog

from tickertape.broker.connections import Connections
from tickertape.broker.fleet import REPORT_INTERVAL_S, REPORT_TTL_S, ApiReport, Fleet, Members
from tickertape.broker.pools import UPSTREAM
from tickertape.broker.queue_depth import LastClaim, read_last_claim

logger = structlog.get_logger("api")


class NoWorker:
    """Decides since when no worker is at work, for any requests or for those of one pool.

    A worker is at work if its report has not expired, or if it asked for work lately. The second
    sign is the only one of a worker that writes no reports, such as one of an older version. That
    sign does not say which pools the worker serves, so it counts for no single pool.
    `since_s` is the Unix time of the last sign, or of the first look if there never was a sign;
    None while a worker is at work, and for `patience_s` after the first look, because everything
    may have been started at the same time.
    """

    def __init__(self, patience_s: float = REPORT_TTL_S, pool: str | None = None) -> None:
        self._patience_s = patience_s
        self._pool = pool
        self._served_s: float | None = None
        self._first_look_s: float | None = None
        self.since_s: float | None = None

    def look(self, members: Members, last: LastClaim) -> float | None:
        """Take the newest signs, and return `since_s`."""
        if self._first_look_s is None:
            self._first_look_s = last.now_s
        is_served = (
            members.has_claiming_worker if self._pool is None else members.serves(self._pool)
        )
        if is_served:
            self._served_s = last.now_s
        claimed_s = last.claimed_s if self._pool is None else self._served_s
        sign_s = claimed_s or self._first_look_s
        silence_s = last.now_s - max(sign_s, self._first_look_s)
        is_alone = not is_served and silence_s >= self._patience_s
        self.since_s = sign_s if is_alone else None
        return self.since_s


class FleetWatch:
    """Looks every `interval_s` while `run` runs. It costs three round trips for each look."""

    def __init__(
        self,
        connections: Connections,
        *,
        interval_s: float = REPORT_INTERVAL_S,
        patience_s: float = REPORT_TTL_S,
    ) -> None:
        self._connections = connections
        self._interval_s = interval_s
        self._fleet = Fleet(connections)
        self._patience_s = patience_s
        self._no_worker = NoWorker(patience_s)
        self._no_worker_of: dict[str, NoWorker] = {}
        self._name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
        self._is_reported = False
        self._members = Members()
        self._open_streams: Callable[[], int] = int
        self._watchers: Callable[[], int] = int

    @property
    def name(self) -> str:
        """A unique name for this process, for its reports."""
        return self._name

    @property
    def no_worker_since(self) -> float | None:
        """The Unix time of the last sign of a worker; None while a worker is at work."""
        return self._no_worker.since_s

    def no_worker_for(self, pool: str) -> float | None:
        """As `no_worker_since`, for the requests of one pool."""
        of_pool = self._no_worker_of.get(pool)
        return self.no_worker_since or (of_pool.since_s if of_pool else None)

    @property
    def members(self) -> Members:
        """The processes and pools as of the last look, or of `learn`."""
        return self._members

    @property
    def upstream_problem(self) -> str | None:
        """Why the upstream refuses all work, as a worker reports it; None without a report."""
        reports = (seen.report for seen in self._members.workers)
        return next((each.upstream_problem for each in reports if each.upstream_problem), None)

    def watch(self, *, open_streams: Callable[[], int], watchers: Callable[[], int]) -> None:
        """Call these functions for each report of this process."""
        self._open_streams, self._watchers = open_streams, watchers

    async def learn(self) -> None:
        """Read the reports before the first call is answered, so that all functions are known."""
        with self._connections.faults.contain("fleet watch"):
            self._members = await self._fleet.members()

    async def run(self) -> None:
        """Report and look until cancelled. While Redis is away, the last look stays valid.

        Foreign data under these keys is logged once, and harms no request.
        """
        while True:
            with self._connections.faults.contain("fleet watch"):
                await self._look()
            await asyncio.sleep(self._interval_s)

    async def leave(self) -> None:
        """Withdraw the report of this process, which ends; at most half a second."""
        if not self._is_reported:
            return
        # Whatever the reply, the process closes its connections next, and the report expires.
        with self._connections.faults.contain("fleet watch"):
            async with asyncio.timeout(0.5):
                await self._fleet.leave(self._name, ApiReport)

    async def _look(self) -> None:
        report = ApiReport(open_streams=self._open_streams(), watchers=self._watchers())
        self._is_reported = True
        await self._fleet.report(self._name, report)
        members = self._members = await self._fleet.members()
        before = self.no_worker_since
        last = await read_last_claim(self._connections)
        since_s = self._no_worker.look(members, last)
        self._look_at_pools(members, last)
        if since_s is not None and before is None:
            logger.warning(
                "no worker asks for work",
                since=_readable(since_s),
                do="start `tickertape worker`, or look at the log of the workers",
            )
        elif since_s is None and before is not None:
            logger.info("a worker asks for work again")

    def _look_at_pools(self, members: Members, last: LastClaim) -> None:
        """Each pool for itself, if there are functions: a worker may serve none of the others."""
        served = {pool for seen in members.workers for pool in seen.report.pools}
        pools = {UPSTREAM, *served, *members.announced}
        self._no_worker_of = {
            pool: self._no_worker_of.get(pool) or NoWorker(self._patience_s, pool)
            for pool in (pools if len(pools) > 1 else ())
        }
        for of_pool in self._no_worker_of.values():
            of_pool.look(members, last)


def _readable(unix_s: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(unix_s))
