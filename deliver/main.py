"""The program of `tickertape deliver`: its parts, its probes and its signals."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Iterator

import structlog
from aiohttp.abc import AbstractResolver

from tickertape.broker.connections import Connections
from tickertape.broker.errors import SettingsInvalid
from tickertape.broker.outbox import LEASE_S, Consumer, Outbox
from tickertape.broker.work_check import LOOK_INTERVAL_S, WorkCheck
from tickertape.deliver.health import OF_DELIVER, Health
from tickertape.deliver.history import HistoryWriter
from tickertape.deliver.metrics import DeliverMetrics
from tickertape.deliver.post import Poster
from tickertape.deliver.process import Deliver, DeliverTiming, Handing
from tickertape.deliver.receivers import Receivers
from tickertape.deliver.webhooks import Webhooks, WebhookTiming
from tickertape.history.opening import open_history
from tickertape.runtime import service_manager
from tickertape.runtime.conditions import Conditions
from tickertape.runtime.probes import open_listeners, probe_endpoint
from tickertape.runtime.process_name import process_name
from tickertape.runtime.secret_watch import SecretWatch
from tickertape.runtime.settings import Settings

# Less than the lease of an outbox, so that few webhooks are sent twice after a takeover.
PATIENCE_S = 8.0
NOTHING_TO_DO = (
    "nothing is to be delivered: set TICKERTAPE_WEBHOOKS to a file of receivers (docs/webhooks.md),"
    " or TICKERTAPE_HISTORY_URL to a database (docs/history.md)"
)


async def run(
    settings: Settings,
    redis_url: str,
    *,
    timing: DeliverTiming | None = None,
    webhook_timing: WebhookTiming | None = None,
    patience_s: float = PATIENCE_S,
    lease_s: float = LEASE_S,
    resolver: AbstractResolver | None = None,
) -> None:
    """Hand on until a stop signal. Waits while Redis is away. Raises SettingsInvalid."""
    receivers = Receivers(settings.webhooks) if settings.webhooks is not None else None
    history = open_history(settings)
    if receivers is None and history is None:
        raise SettingsInvalid(NOTHING_TO_DO)
    listeners = open_listeners(
        "TICKERTAPE_DELIVER_HEALTH_PORT", settings.deliver_health_host, settings.deliver_health_port
    )
    connections = Connections(
        redis_url, namespace=settings.namespace, partitions=settings.partitions
    )
    outbox = Outbox(connections, owner=_name(), lease_s=lease_s)
    watch = SecretWatch(settings)
    watch.on_change("REDIS_URL", connections.use_account)
    webhooks, writer = None, None
    async with contextlib.AsyncExitStack() as closing:
        closing.push_async_callback(connections.aclose)
        if receivers is not None:
            watch.note("TICKERTAPE_WEBHOOKS", lambda: receivers.is_refused)
            poster = await closing.enter_async_context(
                Poster(patience_s=patience_s, resolver=resolver)
            )
            webhooks = Webhooks(
                outbox,
                receivers,
                poster.post,
                connections.faults,
                webhook_timing or WebhookTiming(),
            )
        if history is not None:
            closing.push_async_callback(history.aclose)
            writer = HistoryWriter(connections, outbox, history, keep_days=settings.history_days)
        consumers: dict[Consumer, Handing | None] = {"webhooks": webhooks, "history": writer}
        deliver = Deliver(
            connections,
            outbox,
            {name: each for name, each in consumers.items() if each is not None},
            watch,
            timing or DeliverTiming(),
        )
        health = _health(connections, deliver, webhooks, writer, watch)
        await closing.enter_async_context(probe_endpoint(health, listeners))
        await closing.enter_async_context(_looking(health))
        with _stopping_on_signals(deliver):
            await deliver.run(settings.partitions, _report_ready)


def _health(
    connections: Connections,
    deliver: Deliver,
    webhooks: Webhooks | None,
    writer: HistoryWriter | None,
    watch: SecretWatch,
) -> Health:
    conditions = Conditions(OF_DELIVER)
    return Health(
        deliver,
        WorkCheck(connections),
        lambda: None if writer is None else writer.problem,
        connections.faults,
        watch,
        DeliverMetrics(deliver, webhooks, writer, conditions),
        conditions,
    )


@contextlib.asynccontextmanager
async def _looking(health: Health) -> AsyncIterator[None]:
    """Look at the conditions within the block, also if nobody probes."""
    task = asyncio.create_task(health.looks.run(LOOK_INTERVAL_S), name="readiness")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _name() -> str:
    name = process_name()
    structlog.contextvars.bind_contextvars(deliver=name)
    return name


def _report_ready() -> None:
    service_manager.notify(service_manager.READY)


@contextlib.contextmanager
def _stopping_on_signals(deliver: Deliver) -> Iterator[None]:
    loop = asyncio.get_running_loop()

    def stop() -> None:
        service_manager.notify(service_manager.STOPPING)
        deliver.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
