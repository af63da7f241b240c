"""What a worker process runs, and the order in which it starts and stops."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from tickertape.broker.agreement import Agreement
from tickertape.broker.connections import Connections
from tickertape.broker.errors import AccessDenied, Unavailable
from tickertape.broker.pools import UPSTREAM, functions_in
from tickertape.broker.push import Push
from tickertape.broker.rights import Rights
from tickertape.runtime import service_manager
from tickertape.runtime.garbage import tune_garbage_collector
from tickertape.runtime.loop_watch import LoopWatch
from tickertape.runtime.secret_watch import SecretWatch
from tickertape.worker.aof_rewriter import AofRewriter
from tickertape.worker.consumer import Consumer
from tickertape.worker.fleet_reporter import FleetReporter
from tickertape.worker.functions.guard import Guard
from tickertape.worker.housekeeping import Housekeeper
from tickertape.worker.model_watch import ModelWatch
from tickertape.worker.settler import Settler
from tickertape.worker.title_maker import TitleMaker
from tickertape.worker.tools import Tools

log = structlog.get_logger()


@dataclass(frozen=True)
class Worker:
    """The parts of one worker process. `work` runs them; Health only observes them."""

    connections: Connections
    tools: Tools
    consumer: Consumer
    push: Push
    rights: Rights
    agreement: Agreement
    models: ModelWatch
    reporter: FleetReporter
    titles: TitleMaker | None
    housekeeper: Housekeeper
    settler: Settler
    rewriter: AofRewriter | None
    secrets: SecretWatch
    loop_watch: LoopWatch
    partitions: int
    slots: int
    drain_grace_s: float

    async def work(self, report_ready: Callable[[], None]) -> None:
        """Run until the consumer is stopped and drained. `report_ready` is called before a claim.

        The appender, the model list and the pushes run as long as a job may need them.
        """
        async with asyncio.TaskGroup() as group:
            background = [
                group.create_task(self.tools.appender.run(), name="appender"),
                group.create_task(self.models.run(), name="models"),
                group.create_task(self.reporter.run(), name="fleet reporter"),
                group.create_task(self._listen(), name="push"),
                group.create_task(self.connections.partitions.follow(), name="partition map"),
                group.create_task(self.connections.run_lines(), name="shared lines"),
                group.create_task(self.housekeeper.run(), name="housekeeping"),
                group.create_task(
                    service_manager.keep_watchdog(lambda: not self.consumer.silent_loops),
                    name="watchdog",
                ),
                group.create_task(self.settler.run(), name="settlements"),
                group.create_task(self.secrets.run(), name="secrets"),
                group.create_task(self.loop_watch.run(), name="loop watch"),
            ]
            if self.rewriter is not None:
                background.append(group.create_task(self.rewriter.run(), name="erasures"))
            if self.tools.functions:
                background.append(group.create_task(Guard().run(), name="guard of functions"))
            if self.titles is not None:
                background.append(group.create_task(self.titles.run(), name="titles"))
            try:
                await self.consumer.start_up.run(self._start)
                if not self.consumer.is_stopping:
                    tune_garbage_collector()
                    pools = self.consumer.pools
                    log.info(
                        "working",
                        slots=self.slots,
                        upstream=UPSTREAM in pools,
                        functions=functions_in(pools),
                    )
                    report_ready()
                    background.append(group.create_task(self.agreement.run(), name="agreement"))
                    await self.consumer.run(self.drain_grace_s)
            finally:
                for task in background:
                    task.cancel()
        log.info("drained")

    async def _listen(self) -> None:
        # A server that is too old, which ends the start, has no such subscriptions.
        await self.connections.checked.wait()
        await self.push.run()

    async def _start(self) -> None:
        await _wait_for_redis(self.connections, self.rights, self.agreement, self.partitions)
        await self.tools.appender.ready()
        await self.models.wait_briefly()


async def _wait_for_redis(
    connections: Connections,
    rights: Rights,
    agreement: Agreement,
    partitions: int,
    *,
    pause_s: float = 0.5,
) -> None:
    logged = None
    while True:
        try:
            await rights.check()
            await connections.agree_on_partitions(partitions)
            return await agreement.start()
        except Unavailable as error:
            is_denied = isinstance(error, AccessDenied)
            event = "Redis denies access" if is_denied else "waiting for Redis"
            reason = {"reason": str(error)} if is_denied else {}
            if logged != (event, reason):
                log.warning(event, address=connections.address, **reason)
            logged = (event, reason)
            await asyncio.sleep(pause_s)
