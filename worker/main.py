"""The worker process: builds its parts, handles signals, and stops in order."""

import asyncio
import os
import random
import secrets
import signal
import socket
from dataclasses import dataclass, field

import structlog

from tickertape.broker.agreement import Agreement, settings_of_worker
from tickertape.broker.appender import Appender
from tickertape.broker.compaction import Compaction
from tickertape.broker.connections import Connections
from tickertape.broker.conversations import Conversations
from tickertape.broker.counts import Counts
from tickertape.broker.errors import AccessDenied, SettingsInvalid, Unavailable
from tickertape.broker.fleet import REPORT_INTERVAL_S
from tickertape.broker.log import Logs
from tickertape.broker.looks import Looks
from tickertape.broker.model_titles import ModelTitles
from tickertape.broker.push import Push
from tickertape.broker.queue import Queue
from tickertape.broker.rights import Rights
from tickertape.broker.settlements import Settlements
from tickertape.broker.work_check import LOOK_AGE_S, LOOK_INTERVAL_S, WorkCheck
from tickertape.runtime import service_manager
from tickertape.runtime.conditions import Conditions
from tickertape.runtime.garbage import tune_garbage_collector
from tickertape.runtime.loop_watch import LoopWatch
from tickertape.runtime.metric_families import ConditionGauge
from tickertape.runtime.secret_watch import LOOK_S as SECRET_LOOK_S
from tickertape.runtime.secret_watch import SecretWatch
from tickertape.runtime.settings import Settings
from tickertape.runtime.tracing import Tracer
from tickertape.worker.aof_rewriter import LOOK_S, AofRewriter, rewriter_of
from tickertape.worker.consumer import Consumer, ConsumerTiming
from tickertape.worker.fleet_reporter import FleetReporter
from tickertape.worker.health import Health, health_endpoint
from tickertape.worker.housekeeping import Housekeeper, HousekeepingTiming
from tickertape.worker.metrics import WorkerMetrics
from tickertape.worker.model_watch import ModelWatch, ModelWatchTiming
from tickertape.worker.prompt import Bounds
from tickertape.worker.readiness import OF_WORKER
from tickertape.worker.settler import Settler
from tickertape.worker.title_maker import TitleMaker, TitleTiming
from tickertape.worker.tools import JobTiming, Tools
from tickertape.worker.upstream.answer_stream import Limits
from tickertape.worker.upstream.client import Upstream
from tickertape.worker.worker_channels import open_push

log = structlog.get_logger()

DEFAULT_SLOTS = 64
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@dataclass(frozen=True)
class WorkerTiming:
    """The pauses and limits of a worker and of its parts. Tests pass shorter ones."""

    # None for that of the settings.
    drain_grace_s: float | None = None
    report_interval_s: float = REPORT_INTERVAL_S
    # The worker looks whether it can do its work this often, and a look is good for so long.
    look_interval_s: float = LOOK_INTERVAL_S
    look_age_s: float = LOOK_AGE_S
    erasure_look_s: float = LOOK_S
    secret_look_s: float = SECRET_LOOK_S
    job: JobTiming = field(default_factory=JobTiming)
    consumer: ConsumerTiming = field(default_factory=ConsumerTiming)
    models: ModelWatchTiming = field(default_factory=ModelWatchTiming)
    titles: TitleTiming = field(default_factory=TitleTiming)
    housekeeping: HousekeepingTiming = field(default_factory=HousekeepingTiming)


TIMING = WorkerTiming()


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

    async def work(self) -> None:
        """Run until the consumer is stopped and drained.

        The appender, the model list and the pushes run as long as a job may need them.
        """
        async with asyncio.TaskGroup() as group:
            background = [
                group.create_task(self.tools.appender.run(), name="appender"),
                group.create_task(self.models.run(), name="models"),
                group.create_task(self.reporter.run(), name="fleet reporter"),
                group.create_task(self._listen(), name="push"),
                group.create_task(self.connections.partitions.follow(), name="partition map"),
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
            if self.titles is not None:
                background.append(group.create_task(self.titles.run(), name="titles"))
            try:
                await self.consumer.start_up.run(self._start)
                if not self.consumer.is_stopping:
                    tune_garbage_collector()
                    log.info("working", slots=self.slots)
                    service_manager.notify(service_manager.READY)
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


async def run(
    settings: Settings,
    redis_url: str,
    *,
    slots: int = DEFAULT_SLOTS,
    timing: WorkerTiming = TIMING,
    tracer: Tracer | None = None,
) -> None:
    """Work until a stop signal, then drain; a second signal ends the grace.

    Waits while Redis cannot be reached; a signal ends that wait at once. The caller closes the
    tracer. Raises SettingsInvalid.
    """
    name = worker_name()
    structlog.contextvars.bind_contextvars(worker=name)
    connections = Connections(
        redis_url, namespace=settings.namespace, partitions=settings.partitions
    )
    worker = _build_worker(connections, settings, name, slots, timing, tracer)
    conditions = Conditions(OF_WORKER)
    health = Health(
        worker.consumer,
        worker.tools.appender,
        worker.push,
        WorkCheck(connections),
        worker.models,
        _metrics(worker, connections, conditions),
        conditions,
        lambda: worker.tools.counters.upstream_problem,
        connections.faults,
        timing.look_age_s,
    )
    looking = asyncio.create_task(health.looks.run(timing.look_interval_s), name="readiness")
    try:
        _stop_on_signals(worker.consumer)
        async with health_endpoint(health, settings), worker.tools.upstream:
            await worker.work()
    except ExceptionGroup as failures:
        # Of the tasks' failures, only this one is for people, and has one line.
        invalid = failures.subgroup(SettingsInvalid)
        if invalid is None:
            raise
        raise SettingsInvalid(str(invalid.exceptions[0])) from None
    finally:
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)
        await connections.aclose()


def _metrics(worker: Worker, connections: Connections, conditions: Conditions) -> WorkerMetrics:
    metrics = WorkerMetrics(
        worker.consumer,
        worker.tools,
        connections.writes,
        worker.loop_watch.lag,
        slots=worker.slots,
    )
    metrics.add(ConditionGauge(conditions.gauge))
    return metrics


def worker_name() -> str:
    """A unique, readable name for this worker: host, process id, random digits."""
    host = socket.gethostname().partition(".")[0].replace(":", "-")
    return f"{host}-{os.getpid()}-{secrets.token_hex(3)}"


def _build_worker(
    connections: Connections,
    settings: Settings,
    name: str,
    slots: int,
    timing: WorkerTiming,
    tracer: Tracer | None,
) -> Worker:
    tools = _build_tools(connections, settings, name, timing.job, tracer)
    consumer = Consumer(
        tools,
        slots=slots,
        partitions=connections.partitions.served,
        lease_s=settings.lease_s,
        suspect_crashes=settings.max_crashes - 1,
        timing=timing.consumer,
    )
    models = ModelWatch(connections, tools.upstream, timing.models)
    titles: TitleMaker | None = None
    if settings.titles == "model":
        titles = TitleMaker(
            ModelTitles(connections),
            tools.upstream,
            consumer,
            tools.counters,
            model=settings.titles_model,
            timing=timing.titles,
        )
        tools.answer_listeners.append(titles.answered)
    return Worker(
        connections,
        tools,
        consumer,
        open_push(connections, consumer, name),
        Rights(connections),
        Agreement(connections, settings_of_worker(settings)),
        models,
        FleetReporter(
            connections,
            consumer,
            tools.counters,
            models,
            name=name,
            slots=slots,
            interval_s=timing.report_interval_s,
        ),
        titles,
        _housekeeper(connections, settings, tools, timing.housekeeping),
        _settler(connections, tools),
        rewriter_of(connections, settings, tools.rng, timing.erasure_look_s),
        _secret_watch(settings, connections, tools.upstream, timing.secret_look_s),
        LoopWatch(),
        settings.partitions,
        slots,
        settings.drain_s if timing.drain_grace_s is None else timing.drain_grace_s,
    )


def _secret_watch(
    settings: Settings, connections: Connections, upstream: Upstream, look_s: float
) -> SecretWatch:
    watch = SecretWatch(settings, look_s)
    watch.on_change("REDIS_URL", connections.use_account)
    watch.on_change("OPENAI_API_KEY", upstream.use_key)
    watch.on_change("OPENAI_BASE_URL", upstream.use_account)
    return watch


def _build_tools(
    connections: Connections,
    settings: Settings,
    name: str,
    timing: JobTiming,
    tracer: Tracer | None,
) -> Tools:
    key = settings.openai_api_key
    return Tools(
        queue=Queue(connections, settings, worker=name),
        looks=Looks(connections),
        appender=Appender(connections, settings),
        upstream=Upstream(
            settings.openai_base_url,
            key.get_secret_value() if key else None,
            model=settings.openai_model,
            profile=settings.upstream_profile,
        ),
        logs=Logs(connections),
        conversations=Conversations(connections, settings),
        limits=Limits(
            settings.first_byte_s,
            settings.stall_s,
            settings.deadline_s,
            settings.max_output_bytes,
        ),
        bounds=Bounds(settings.memory_bytes, settings.context_tokens),
        rng=random.Random(),
        timing=timing,
        faults=connections.faults,
        tracer=tracer,
    )


def _housekeeper(
    connections: Connections, settings: Settings, tools: Tools, timing: HousekeepingTiming
) -> Housekeeper:
    return Housekeeper(
        Compaction(connections),
        Counts(connections, settings),
        connections.faults,
        partitions=lambda: connections.partitions.served,
        compact_after_s=settings.compact_after_s,
        rng=tools.rng,
        timing=timing,
    )


def _settler(connections: Connections, tools: Tools) -> Settler:
    settler = Settler(
        Settlements(connections),
        connections.faults,
        partitions=lambda: connections.partitions.served,
    )
    tools.end_listeners.append(settler.ended)
    return settler


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


def _stop_on_signals(consumer: Consumer) -> None:
    """Stop the consumer at stop signals, until the loop closes: a second one may come."""
    loop = asyncio.get_running_loop()

    def stop() -> None:
        service_manager.notify(service_manager.STOPPING)
        consumer.stop()

    def hang_up() -> None:
        # A terminal that closes may send the signal twice, by itself and through its shell.
        if not consumer.is_stopping:
            stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    # A program under nohup outlives its terminal.
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        loop.add_signal_handler(signal.SIGHUP, hang_up)
    # The process was started with these signals blocked. Pending ones arrive now; see cli/serve.py.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
