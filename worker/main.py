"""The worker process: puts its parts together, listens to signals, and leaves in order."""

import asyncio
import contextlib
import gc
import os
import random
import secrets
import signal
import socket
from collections.abc import AsyncIterator, Coroutine, Mapping
from typing import Any

import structlog

from tickertape.broker import keys
from tickertape.broker.appender import Appender
from tickertape.broker.connections import Connections
from tickertape.broker.conversations import Conversations
from tickertape.broker.errors import AccessDenied, Unavailable
from tickertape.broker.log import Logs
from tickertape.broker.push import Push
from tickertape.broker.queue import Queue
from tickertape.broker.rights import Rights
from tickertape.runtime.settings import Settings
from tickertape.worker.consumer import Consumer, StoppedError
from tickertape.worker.health import Health, health_endpoint
from tickertape.worker.model_watch import ModelWatch
from tickertape.worker.prompt import Bounds
from tickertape.worker.tools import Tools
from tickertape.worker.upstream.answer_stream import Limits
from tickertape.worker.upstream.client import Upstream

log = structlog.get_logger()

DEFAULT_SLOTS = 64
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
DRAIN_GRACE_S = 10.0
_REDIS_PAUSE_S = 0.5
# When the collector looks: after so many new objects; at all of them after that times the rest.
# A job leaves no cycles behind, and looks at hundreds of jobs are a tenth of the work at Python's
# 700, 10, 10.
_GC_THRESHOLDS = (10_000, 10, 100)


class CancelListener:
    """Hands cancel nudges to the consumer. A lost one costs time only: the next write is fenced."""

    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer

    def on_subscribed(self, channel: bytes) -> None:
        """Nothing to catch up with: a cancel that was missed shows at the next write or renewal."""

    def on_pushed(self, channel: bytes, message: bytes) -> None:
        """A request of ours was ended by someone else."""
        del channel
        self._consumer.cancelled(message.decode(errors="replace"))


async def run(settings: Settings, redis_url: str, *, slots: int = DEFAULT_SLOTS) -> None:
    """Work until SIGTERM or SIGINT, then drain; a second signal ends the grace.

    Waits for Redis when it is not there yet; a signal ends that at once. Raises SettingsInvalid.
    """
    name = worker_name()
    structlog.contextvars.bind_contextvars(worker=name)
    connections = Connections(redis_url)
    tools = _tools(connections, settings, name)
    consumer = Consumer(
        tools,
        slots=slots,
        partitions=settings.partitions,
        lease_s=settings.lease_s,
        suspect_crashes=settings.max_crashes - 1,
    )
    pushes = [_push(connections, consumer, n, name) for n in range(settings.partitions)]
    rights, models = Rights(connections, settings.partitions), ModelWatch(connections, tools)
    health = Health(consumer, tools.appender, pushes, rights, models)
    try:
        _listen_to_signals(consumer)
        async with health_endpoint(health, settings), tools.upstream:
            await _work(connections, settings, tools, health, slots)
    finally:
        await connections.aclose()


def worker_name() -> str:
    """A name no other worker has, for people to read: host, process, random."""
    host = socket.gethostname().partition(".")[0].replace(":", "-")
    return f"{host}-{os.getpid()}-{secrets.token_hex(3)}"


def _tools(connections: Connections, settings: Settings, name: str) -> Tools:
    key = settings.openai_api_key
    return Tools(
        queue=Queue(connections, settings, worker=name),
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
    )


def _push(connections: Connections, consumer: Consumer, partition: int, name: str) -> Push:
    push = Push(connections, CancelListener(consumer))
    push.subscribe(keys.worker_channel(partition, name).encode())
    return push


async def _work(
    connections: Connections, settings: Settings, tools: Tools, health: Health, slots: int
) -> None:
    consumer = health.consumer
    # What is known without a list of models holds where none can be read, too.
    tools.queue.can_continue = tools.upstream.profile.can_continue
    background = {
        "appender": tools.appender.run(),
        "models": health.models.run(),
        **{f"push {number}": push.run() for number, push in enumerate(health.pushes)},
    }
    async with _running(background):
        with contextlib.suppress(StoppedError):
            async with consumer.start_up:
                await _wait_for_redis(connections, health.rights, settings.partitions)
                await tools.appender.ready()
                await health.models.wait_briefly()
        if not consumer.is_stopping:
            health.is_working = True
            # What was made so far lives to the end. The SDK alone is 100,000 objects, and a look of
            # the collector at them takes 80 ms, in which every answer would stand still.
            gc.freeze()
            gc.set_threshold(*_GC_THRESHOLDS)
            log.info("working", slots=slots)
            await consumer.run(DRAIN_GRACE_S)
    log.info("drained")


@contextlib.asynccontextmanager
async def _running(background: Mapping[str, Coroutine[Any, Any, None]]) -> AsyncIterator[None]:
    """What runs next to the consumer, for as long as there is a job that may need it."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(each, name=name) for name, each in background.items()]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()


async def _wait_for_redis(connections: Connections, rights: Rights, partitions: int) -> None:
    told = None
    while True:
        try:
            await rights.check()
            return await connections.agree_on_partitions(partitions)
        except Unavailable as error:
            is_denied = isinstance(error, AccessDenied)
            event = "Redis denies access" if is_denied else "waiting for Redis"
            reason = {"reason": str(error)} if is_denied else {}
            if told != (event, reason):
                log.warning(event, address=connections.address, **reason)
            told = (event, reason)
            await asyncio.sleep(_REDIS_PAUSE_S)


def _listen_to_signals(consumer: Consumer) -> None:
    """Stop at SIGTERM and SIGINT. Until the loop closes: a second one may come while we leave."""
    loop = asyncio.get_running_loop()
    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, consumer.stop)
    # Those that came while nobody could hear them come now: see cli/serve.py.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
