"""What runs as long as the app: its connections, its streams, and the first wait for Redis."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, NamedTuple

import structlog

from tickertape.api.edge.access import Access
from tickertape.api.edge.listed_keys import CurrentKeys
from tickertape.api.edge.tenant_rules import TenantRulebook
from tickertape.api.failure_log import log_failure
from tickertape.api.fanout.conversation_checks import ConversationChecks
from tickertape.api.fanout.hub import Hub
from tickertape.api.fanout.streams import Streams
from tickertape.api.fanout.watchers import Watchers
from tickertape.api.fleet_status import FleetStatus
from tickertape.api.fleet_watch import FleetWatch
from tickertape.api.metrics import Metrics
from tickertape.api.past import Past, WholeList
from tickertape.api.services import ApiTiming, Services
from tickertape.api.work_look import looks_of
from tickertape.broker.access import AccessRecords
from tickertape.broker.agreement import Agreement, settings_of_api
from tickertape.broker.connections import Connections
from tickertape.broker.conversation_states import ConversationStates
from tickertape.broker.conversations import Conversations
from tickertape.broker.errors import AccessDenied, SettingsInvalid, Unavailable
from tickertape.broker.exchanges import Exchanges
from tickertape.broker.log import Logs
from tickertape.broker.outbox import has_history
from tickertape.broker.queue_lines import QueueLines
from tickertape.broker.requests import Requests
from tickertape.broker.rights import Rights
from tickertape.broker.summaries import ConversationList
from tickertape.broker.watchers import WatcherCounts
from tickertape.history.opening import open_history
from tickertape.roles import Roles
from tickertape.runtime import service_manager
from tickertape.runtime.secret_watch import SecretWatch
from tickertape.runtime.settings import Settings

if TYPE_CHECKING:
    from tickertape.history.store import History

logger = structlog.get_logger("api")

_FIRST_PAUSE_S = 0.1
_LAST_PAUSE_S = 2.0

OnFatal = Callable[[str], None]


class Callers(NamedTuple):
    """Who is let in, and what tenants may do."""

    access: Access
    keys: CurrentKeys | None
    rules: TenantRulebook


class Reports(NamedTuple):
    """What is called when the app has to stop, and when it is ready."""

    fatal: OnFatal
    ready: Callable[[], None]


@asynccontextmanager
async def running(
    settings: Settings,
    redis_url: str,
    roles: Roles,
    reports: Reports,
    timing: ApiTiming,
    callers: Callers,
    metrics: Metrics,
) -> AsyncIterator[Services]:
    """The services of a running app. They become usable once Redis is up.

    `ready` of `reports` is called once they are usable. `fatal` is called with the reason when the
    app has to stop, because REDIS_URL names another kind of deployment, because this release cannot
    read the data in Redis, or because a background task failed.
    """
    connections = Connections(
        redis_url, namespace=settings.namespace, partitions=settings.partitions
    )
    history = open_history(settings)
    services = _services(settings, connections, history, roles, timing, callers, metrics)
    agreement = Agreement(connections, settings_of_api(settings))
    secrets = SecretWatch(settings, timing.secret_look_s)
    secrets.on_change("REDIS_URL", connections.use_account)
    secrets.note("REDIS_URL (certificates)", lambda: connections.certificates.is_refused)
    callers.access.watch(secrets)
    looks = services.readiness.looks = looks_of(services, secrets)
    tasks = [
        asyncio.create_task(services.streams.run(), name="streams"),
        asyncio.create_task(_agree(services, agreement, callers.access), name="agreement"),
        asyncio.create_task(_watch_fleet(services), name="fleet watch"),
        asyncio.create_task(
            callers.access.run(services.access, connections.faults, timing.access_interval_s),
            name="access",
        ),
        asyncio.create_task(connections.partitions.follow(), name="partition map"),
        asyncio.create_task(connections.run_lines(), name="shared lines"),
        asyncio.create_task(services.loop_watch.run(), name="loop watch"),
        asyncio.create_task(_report_to_manager(services, reports.ready), name="service manager"),
        asyncio.create_task(metrics.run(), name="metrics"),
        asyncio.create_task(looks.run(timing.look_interval_s), name="readiness"),
        asyncio.create_task(secrets.run(), name="secrets"),
    ]
    for task in tasks:
        task.add_done_callback(lambda ended: _report(ended, reports.fatal))
    try:
        yield services
    finally:
        services.streams.drain()
        for task in tasks:
            task.cancel()
        try:
            await asyncio.gather(*tasks, return_exceptions=True)
            await services.fleet.leave()
        finally:
            # Also if a server is in a hurry, and cancels the wait for Redis.
            services.heavy.close()
            await connections.aclose()
            if history is not None:
                await history.aclose()


def _services(
    settings: Settings,
    connections: Connections,
    history: "History | None",
    roles: Roles,
    timing: ApiTiming,
    callers: Callers,
    metrics: Metrics,
) -> Services:
    requests = Requests(connections, settings)
    conversation_list = ConversationList(connections, settings)
    if history is not None:
        conversation_list = WholeList(conversation_list, history, connections)
    fleet = FleetWatch(
        connections,
        interval_s=timing.fleet_interval_s,
        patience_s=timing.no_worker_after_s,
    )
    counts = WatcherCounts(connections, fleet.name)
    services = Services(
        settings=settings,
        roles=roles,
        connections=connections,
        rights=Rights(connections),
        requests=requests,
        conversations=Conversations(connections, settings),
        conversation_list=conversation_list,
        past=Past(history, connections),
        logs=Logs(connections),
        exchanges=Exchanges(connections, has_history=has_history(settings)),
        access=AccessRecords(connections),
        tickets=callers.access.tickets,
        streams=Streams(
            Hub(connections, settings, is_new_and_short=requests.is_new_and_short),
            QueueLines(connections),
            settings,
            watchers=Watchers(
                counts, interval_s=timing.watchers_interval_s, faults=connections.faults
            ),
            checks=ConversationChecks(
                ConversationStates(connections), connections.faults, settings.heartbeat_s
            ),
            no_worker_since=fleet.no_worker_for,
            position_interval_s=timing.position_interval_s,
        ),
        fleet=fleet,
        fleet_status=FleetStatus(connections),
        metrics=metrics,
        keys=callers.keys,
        rules=callers.rules,
        timing=timing,
    )
    streams = services.streams
    fleet.watch(
        open_streams=lambda: streams.open_streams, watchers=lambda: streams.watchers.readers
    )
    services.metrics.watch(
        open_streams=lambda: streams.open_streams,
        is_up=lambda: streams.is_up,
        writes=connections.writes,
        conditions=services.readiness.conditions.gauge,
        longest_turn_s=lambda: services.loop_watch.longest_turn_s,
    )
    hub = streams.hub
    services.metrics.watch_fanout(hub.counts, hub.held.read, services.loop_watch.lag)
    return services


async def _agree(services: Services, agreement: Agreement, access: Access) -> None:
    """Retry until Redis accepts this process, so that both may start in any order.

    Then compare from time to time.
    """
    pause_s = _FIRST_PAUSE_S
    readiness, address = services.readiness, services.connections.address
    while True:
        try:
            await services.rights.check()
            await services.connections.agree_on_partitions(services.settings.partitions)
            await agreement.start()
            await access.refresh(services.access)
            await services.fleet.learn()
        except Unavailable as error:
            if isinstance(error, AccessDenied):
                if str(error) != readiness.denial:
                    logger.warning("Redis denies access", address=address, reason=str(error))
                readiness.denial = str(error)
            elif pause_s == _FIRST_PAUSE_S:
                logger.warning("waiting for Redis", address=address)
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _LAST_PAUSE_S)
        else:
            readiness.has_agreed.set()
            logger.info("ready for requests", redis=address)
            await agreement.run()


async def _watch_fleet(services: Services) -> None:
    # Until Redis has accepted this process, nothing is written to Redis.
    await services.readiness.has_agreed.wait()
    await services.fleet.run()


async def _report_to_manager(services: Services, report_ready: Callable[[], None]) -> None:
    await services.readiness.has_agreed.wait()
    report_ready()
    await service_manager.keep_watchdog()


def _report(task: asyncio.Task[None], on_fatal: OnFatal) -> None:
    if task.cancelled() or (error := task.exception()) is None:
        return
    if isinstance(error, SettingsInvalid):
        on_fatal(str(error))
        return
    if isinstance(error, Exception):
        log_failure(error, "request failed", path=task.get_name())
    on_fatal(f"The task {task.get_name()!r} failed: {type(error).__name__}")
