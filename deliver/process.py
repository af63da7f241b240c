"""What `tickertape deliver` runs, and the order in which it starts and stops."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import structlog

from tickertape.broker.connections import Connections
from tickertape.broker.errors import AccessDenied, Unavailable
from tickertape.broker.outbox import Consumer, Outbox
from tickertape.broker.rights import Rights
from tickertape.runtime import service_manager
from tickertape.runtime.pulse import Pulse
from tickertape.runtime.secret_watch import SecretWatch
from tickertape.runtime.wait import wait_at_most

log = structlog.get_logger()


class Handing(Protocol):
    """What hands on the outboxes of one consumer."""

    async def round(self, partition: int) -> int:
        """Hand on some of what a partition has; returns how much. Raises Unavailable."""

    async def drain(self, limit_s: float) -> None:
        """End what was begun, within the limit."""


@dataclass(frozen=True)
class DeliverTiming:
    """The pauses and limits of the process. Tests pass shorter ones."""

    # With nothing to hand on, the outboxes are read this often.
    poll_s: float = 0.5
    drain_s: float = 20.0
    start_pause_s: float = 0.5
    # Longer than the longest round: all calls that are under way end, or the database gives up.
    silent_s: float = 60.0


class Deliver:
    """Hands on the outboxes of each consumer until `stop`. No failure ends it."""

    def __init__(
        self,
        connections: Connections,
        outbox: Outbox,
        consumers: dict[Consumer, Handing],
        secrets: SecretWatch,
        timing: DeliverTiming,
    ) -> None:
        self._connections = connections
        self._outbox = outbox
        self._consumers = consumers
        self._secrets = secrets
        self._timing = timing
        self._stopping = asyncio.Event()
        self._pulses: dict[Consumer, Pulse] = {}

    @property
    def is_stopping(self) -> bool:
        """Whether `stop` was called."""
        return self._stopping.is_set()

    @property
    def has_started(self) -> bool:
        """Whether Redis has accepted this process since its start."""
        return bool(self._pulses)

    @property
    def silent_loops(self) -> list[str]:
        """The consumers whose loops hang. Only a restart of this process can help."""
        silent = [name for name, pulse in self._pulses.items() if pulse.is_silent]
        return [] if self.is_stopping else [*silent]

    @property
    def is_working(self) -> bool:
        """Whether this process hands on what there is."""
        return self.has_started and not self.is_stopping and not self.silent_loops

    def stop(self) -> None:
        """End what was begun, and begin nothing more."""
        self._stopping.set()

    async def run(self, partitions: int, report_ready: Callable[[], None]) -> None:
        """Hand on until `stop`; waits for Redis first."""
        async with asyncio.TaskGroup() as group:
            background = [
                group.create_task(self._secrets.run(), name="secrets"),
                group.create_task(self._connections.partitions.follow(), name="partition map"),
                group.create_task(
                    service_manager.keep_watchdog(lambda: not self.silent_loops), name="watchdog"
                ),
            ]
            try:
                await self._wait_for_redis(partitions)
                self._pulses = {name: Pulse(self._timing.silent_s) for name in self._consumers}
                if not self._stopping.is_set():
                    log.info("delivering", consumers=list(self._consumers))
                    report_ready()
                async with asyncio.TaskGroup() as loops:
                    for name, handing in self._consumers.items():
                        loops.create_task(self._loop(name, handing), name=name)
            finally:
                for task in background:
                    task.cancel()
        log.info("drained")

    async def _loop(self, name: Consumer, handing: Handing) -> None:
        drain_s = 0.0
        try:
            while not self._stopping.is_set():
                handed = 0
                for partition in range(self._outbox.partitions):
                    self._pulses[name].beat()
                    with self._connections.faults.contain(name):
                        handed += await handing.round(partition)
                if not handed:
                    await wait_at_most(self._stopping, self._timing.poll_s)
            drain_s = self._timing.drain_s
        finally:
            await handing.drain(drain_s)
        # The next process need not wait for the end of the lease.
        for partition in range(self._outbox.partitions):
            with self._connections.faults.contain(name):
                await self._outbox.release(partition, name)

    async def _wait_for_redis(self, partitions: int) -> None:
        logged = ""
        while not self._stopping.is_set():
            try:
                await Rights(self._connections).check()
                return await self._connections.agree_on_partitions(partitions)
            except Unavailable as error:
                reason = str(error) if isinstance(error, AccessDenied) else "waiting for Redis"
                if logged != reason:
                    log.warning(reason, address=self._connections.address)
                logged = reason
                await wait_at_most(self._stopping, self._timing.start_pause_s)
        return None
