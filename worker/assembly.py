"""Builds the parts of a worker process from the settings."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from tickertape.broker.agreement import Agreement, settings_of_worker
from tickertape.broker.appender import Appender
from tickertape.broker.compaction import Compaction
from tickertape.broker.connections import Connections
from tickertape.broker.conversations import Conversations
from tickertape.broker.counts import Counts
from tickertape.broker.fleet import REPORT_INTERVAL_S
from tickertape.broker.log import Logs
from tickertape.broker.looks import Looks
from tickertape.broker.marks import Marks
from tickertape.broker.model_titles import ModelTitles
from tickertape.broker.pools import UPSTREAM
from tickertape.broker.queue import Queue
from tickertape.broker.rights import Rights
from tickertape.broker.settlements import Settlements
from tickertape.broker.upstream_limits import UpstreamLimits
from tickertape.broker.work_check import LOOK_AGE_S, LOOK_INTERVAL_S
from tickertape.runtime.loop_watch import LoopWatch
from tickertape.runtime.secret_watch import LOOK_S as SECRET_LOOK_S
from tickertape.runtime.secret_watch import SecretWatch
from tickertape.runtime.settings import Settings
from tickertape.runtime.tracing import Tracer
from tickertape.worker.aof_rewriter import LOOK_S, rewriter_of
from tickertape.worker.consumer import Consumer, ConsumerTiming
from tickertape.worker.fleet_reporter import FleetReporter
from tickertape.worker.functions.definition import Function
from tickertape.worker.housekeeping import Housekeeper, HousekeepingTiming
from tickertape.worker.model_watch import ModelWatch, ModelWatchTiming
from tickertape.worker.process import Worker
from tickertape.worker.prompt import Bounds
from tickertape.worker.settler import Settler
from tickertape.worker.title_maker import TitleMaker, TitleTiming
from tickertape.worker.tools import JobTiming, Tools
from tickertape.worker.upstream.answer_stream import Limits
from tickertape.worker.upstream.client import Upstream
from tickertape.worker.upstreams.reading import read_table
from tickertape.worker.upstreams.room import SharedLimits
from tickertape.worker.upstreams.roster import UpstreamTable, build_table
from tickertape.worker.worker_channels import open_push


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


def build_worker(
    connections: Connections,
    settings: Settings,
    name: str,
    slots: int,
    timing: WorkerTiming,
    tracer: Tracer | None,
    functions: Sequence[Function] = (),
) -> Worker:
    """The parts of a worker of this name, with `slots` requests at a time; nothing runs yet."""
    tools = _build_tools(connections, settings, name, timing.job, tracer, functions)
    consumer = Consumer(
        tools,
        slots=slots,
        partitions=connections.partitions.served,
        lease_s=settings.lease_s,
        suspect_crashes=settings.max_crashes - 1,
        timing=timing.consumer,
    )
    has_upstream = UPSTREAM in tools.queue.pools
    models = ModelWatch(connections, tools.upstream if has_upstream else None, timing.models)
    titles: TitleMaker | None = None
    if settings.titles == "model" and has_upstream:
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
    settings: Settings,
    connections: Connections,
    upstream: Upstream | UpstreamTable,
    look_s: float,
) -> SecretWatch:
    watch = SecretWatch(settings, look_s)
    watch.on_change("REDIS_URL", connections.use_account)
    watch.note("REDIS_URL (certificates)", lambda: connections.certificates.is_refused)
    if isinstance(upstream, UpstreamTable):
        for member in upstream.members:
            if member.key_file is not None:
                name = f"key_file of the upstream {member.row.name}"
                watch.watch(name, member.key_file, member.upstream.use_key)
        return watch
    watch.on_change("OPENAI_API_KEY", upstream.use_key)
    watch.on_change("OPENAI_BASE_URL", upstream.use_account)
    return watch


def _build_tools(
    connections: Connections,
    settings: Settings,
    name: str,
    timing: JobTiming,
    tracer: Tracer | None,
    functions: Sequence[Function],
) -> Tools:
    rng = random.Random()
    pools = _pools(settings, functions)
    upstream = _upstream(settings, connections, rng)
    keeping = upstream.keeping if isinstance(upstream, UpstreamTable) else ()
    return Tools(
        queue=Queue(connections, settings, worker=name, pools=pools, keeping=keeping),
        looks=Looks(connections, pools=pools),
        marks=Marks(connections),
        appender=Appender(connections, settings),
        upstream=upstream,
        logs=Logs(connections),
        conversations=Conversations(connections, settings),
        limits=Limits(
            settings.first_byte_s,
            settings.stall_s,
            settings.deadline_s,
            settings.max_output_bytes,
        ),
        bounds=Bounds(settings.memory_bytes, settings.context_tokens),
        rng=rng,
        timing=timing,
        faults=connections.faults,
        tracer=tracer,
        functions={each.name: each for each in functions},
    )


def _upstream(
    settings: Settings, connections: Connections, rng: random.Random
) -> Upstream | UpstreamTable:
    if settings.upstreams is not None:
        return build_table(
            read_table(settings.upstreams),
            rng,
            model=settings.openai_model,
            turnstile=SharedLimits(UpstreamLimits(connections)),
        )
    key = settings.openai_api_key
    return Upstream(
        settings.openai_base_url,
        key.get_secret_value() if key else None,
        model=settings.openai_model,
        profile=settings.upstream_profile,
    )


def _pools(settings: Settings, functions: Sequence[Function]) -> tuple[str, ...]:
    """What a worker claims from: the upstream, unless the worker has functions and no upstream."""
    names = tuple(each.name for each in functions)
    return names if names and not settings.has_upstream else (UPSTREAM, *names)


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
