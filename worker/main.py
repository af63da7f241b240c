"""The worker program: its parts, its probes and its signals."""

import asyncio
import signal
from collections.abc import Sequence

import structlog

from tickertape.broker.connections import Connections
from tickertape.broker.errors import SettingsInvalid
from tickertape.broker.work_check import WorkCheck
from tickertape.runtime import service_manager
from tickertape.runtime.conditions import Conditions
from tickertape.runtime.metric_families import ConditionGauge
from tickertape.runtime.probes import probe_endpoint
from tickertape.runtime.process_name import process_name
from tickertape.runtime.processes import END_AT_ONCE, STOP_SIGNALS
from tickertape.runtime.settings import Settings
from tickertape.runtime.shared_metrics import SharedMetrics
from tickertape.runtime.tracing import Tracer
from tickertape.worker.assembly import TIMING, WorkerTiming, build_worker
from tickertape.worker.consumer import Consumer
from tickertape.worker.functions.definition import Function
from tickertape.worker.group import Group, open_probes
from tickertape.worker.health import Health
from tickertape.worker.metrics import WorkerMetrics
from tickertape.worker.process import Worker
from tickertape.worker.readiness import OF_WORKER
from tickertape.worker.upstreams.metrics import UpstreamMetrics
from tickertape.worker.upstreams.roster import UpstreamTable

DEFAULT_SLOTS = 64
# Those that the caller of `run` blocks before it makes the event loop.
BLOCKED_SIGNALS = (*STOP_SIGNALS, END_AT_ONCE)


async def run(
    settings: Settings,
    redis_url: str,
    *,
    slots: int = DEFAULT_SLOTS,
    timing: WorkerTiming = TIMING,
    tracer: Tracer | None = None,
    group: Group | None = None,
    functions: Sequence[Function] = (),
) -> None:
    """Work until a stop signal, then drain; a second signal ends the grace.

    Requests whose model is the name of one of the `functions` are answered by that.

    Waits while Redis cannot be reached; a signal ends that wait at once. The caller closes the
    tracer. `group` has the other processes of the same command. Raises SettingsInvalid.
    """
    name = process_name()
    structlog.contextvars.bind_contextvars(worker=name)
    connections = Connections(
        redis_url, namespace=settings.namespace, partitions=settings.partitions
    )
    worker = build_worker(connections, settings, name, slots, timing, tracer, functions)
    conditions = Conditions(OF_WORKER)
    metrics = _metrics(worker, connections, conditions)
    shared = SharedMetrics(metrics.text, group.siblings if group else None)
    health = Health(
        worker.consumer,
        worker.tools.appender,
        worker.push,
        WorkCheck(connections),
        worker.models,
        shared,
        conditions,
        lambda: worker.tools.upstream_problem,
        connections.faults,
        worker.secrets,
        timing.look_age_s,
        group,
    )
    tasks = [
        asyncio.create_task(health.looks.run(timing.look_interval_s), name="readiness"),
        asyncio.create_task(shared.run(lambda: _gives_signs(health)), name="metrics"),
    ]
    try:
        _stop_on_signals(worker.consumer, is_child=group is not None)
        listeners = group.listeners if group else open_probes(settings)
        async with probe_endpoint(health, listeners), worker.tools.upstream:
            await worker.work(group.siblings.report_ready if group else _report_ready)
    except ExceptionGroup as failures:
        # Of the tasks' failures, only this one is for people, and has one line.
        invalid = failures.subgroup(SettingsInvalid)
        if invalid is None:
            raise
        raise SettingsInvalid(str(invalid.exceptions[0])) from None
    finally:
        for task in tasks:
            task.cancel()
        try:
            await asyncio.gather(*tasks, return_exceptions=True)
        finally:
            # Also if somebody is in a hurry, and cancels this wait.
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
    if isinstance(worker.tools.upstream, UpstreamTable):
        metrics.add(UpstreamMetrics(worker.tools.upstream.members))
    return metrics


def _report_ready() -> None:
    service_manager.notify(service_manager.READY)


def _gives_signs(health: Health) -> bool:
    # Before the first claim, a worker may wait for Redis for any time.
    return not health.consumer.is_claiming or health.is_alive() is None


def _stop_on_signals(consumer: Consumer, *, is_child: bool) -> None:
    """Stop the consumer at stop signals, until the loop closes: a second one may come.

    A child of several processes ends its grace at END_AT_ONCE of its parent only, because terminals
    and service managers signal parent and child, which so gets each signal twice.
    """
    loop = asyncio.get_running_loop()

    def stop() -> None:
        if not is_child:
            # Of several processes, the parent says this for all.
            service_manager.notify(service_manager.STOPPING)
        consumer.stop()

    def stop_once() -> None:
        # A terminal that closes may send SIGHUP twice, by itself and through its shell.
        if not consumer.is_stopping:
            stop()

    def stop_at_once() -> None:
        stop_once()
        stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop_once if is_child else stop)
    if is_child:
        loop.add_signal_handler(END_AT_ONCE, stop_at_once)
    # A program under nohup outlives its terminal.
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        loop.add_signal_handler(signal.SIGHUP, stop_once)
    # The process was started with these signals blocked. Pending ones arrive now; see cli/serve.py.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, BLOCKED_SIGNALS)
