"""Consumers of a scripted queue."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from tests.support.script import Role, Script, Text, Wait
from tests.support.scripted import (
    OfflineUpstream,
    ScriptedAppender,
    ScriptedLooks,
    ScriptedQueue,
    lease,
    tools,
)
from tickertape.broker.leases import Lease
from tickertape.worker.consumer import Consumer, ConsumerTiming

CROWD = [f"r0_{letter * 26}" for letter in "abcdefghi"]
IDS = CROWD[:3]
SUSPECT_CRASHES = 2


def leases(*, crashes: int = 0) -> list[Lease]:
    return [lease(request_id=request_id, crashes=crashes) for request_id in IDS]


def endless() -> Script:
    return [Role(), Text("x"), Wait(asyncio.Event())]


def consumer_of(
    queue: ScriptedQueue,
    *scripts: Script | Exception,
    slots: int = 8,
    appender: ScriptedAppender | None = None,
    looks: ScriptedLooks | None = None,
    partitions: int = 1,
    timing: ConsumerTiming | None = None,
) -> Consumer:
    """A consumer of one partition, or of more."""
    return Consumer(
        tools(OfflineUpstream(*scripts), queue, appender, looks=looks),
        slots=slots,
        partitions=partitions,
        lease_s=60,
        suspect_crashes=SUSPECT_CRASHES,
        timing=timing or ConsumerTiming(),
    )


@contextlib.asynccontextmanager
async def running(consumer: Consumer, grace_s: float = 30) -> AsyncIterator[asyncio.Task[None]]:
    """Run a consumer. At the end, stop it twice, so that it does not wait for its jobs."""
    task = asyncio.create_task(consumer.run(grace_s))
    try:
        yield task
        consumer.stop()
        consumer.stop()
        async with asyncio.timeout(5):
            await task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
