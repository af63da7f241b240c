"""The usage of an attempt is recorded once, however the attempt ended."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.support.keyspace import KEYS
from tests.support.rig import TENANT, Rig, open_rig, working
from tests.support.script import Cut, Finish, Role, Text, Wait
from tests.support.upstream import ScriptedUpstream
from tests.support.wait import wait_until
from tickertape.broker.appender import Appender
from tickertape.broker.codec import encode_text
from tickertape.broker.kinds import OPENERS
from tickertape.broker.leases import Lease
from tickertape.broker.queue import Queue
from tickertape.runtime.settings import Settings


@pytest.fixture
def settings(upstream: ScriptedUpstream) -> Settings:
    return Settings.model_validate({"openai_base_url": upstream.base_url, "lease_s": 0.6})


@pytest.fixture
async def rig(redis_url: str, settings: Settings) -> AsyncIterator[Rig]:
    async with open_rig(redis_url, settings) as running:
        yield running


async def usage(rig: Rig, request_id: str) -> list[dict[str, object] | None]:
    """The recorded usage of each attempt, in the order of the attempts."""
    recorded = (await rig.record(request_id)).usage
    attempts = [e.cursor.attempt for e in await rig.entries(request_id) if e.kind in OPENERS]
    assert {*recorded} <= {str(attempt) for attempt in attempts}
    return [recorded.get(str(attempt)) for attempt in attempts]


async def test_the_usage_of_a_broken_attempt_and_of_the_next_one_is_recorded(
    rig: Rig, settings: Settings, upstream: ScriptedUpstream
) -> None:
    upstream.enqueue([Role(), Text("a"), Text("b"), Cut()])
    async with working(rig.url, settings):
        request_id = await rig.ask()
        await rig.ended(request_id)
    first, second = await usage(rig, request_id)
    assert first == {"completion_tokens": 2, "estimated": True}
    assert second is not None
    assert "estimated" not in second


async def test_the_usage_of_an_attempt_whose_log_was_lost_is_recorded(
    rig: Rig, settings: Settings, upstream: ScriptedUpstream
) -> None:
    gate = asyncio.Event()
    upstream.enqueue([Role(), Text("a"), Text("b"), Wait(gate), Text("c"), Finish()])
    async with working(rig.url, settings):
        request_id = await rig.ask()
        await rig.shows(request_id, "ab")
        lost = (await rig.entries(request_id))[-1].cursor
        await rig.connections.ask("XDEL", KEYS.log(request_id), str(lost))
        await rig.connections.ask("HSET", KEYS.request(request_id), "seq", lost.seq - 1)
        gate.set()
        await rig.ended(request_id)
    first, second = await usage(rig, request_id)
    assert first is not None
    assert first["estimated"]
    assert second is not None


async def test_the_usage_of_a_cancelled_attempt_is_recorded(
    rig: Rig, settings: Settings, upstream: ScriptedUpstream
) -> None:
    upstream.script = [Role(), Text("a"), Wait(asyncio.Event())]
    async with working(rig.url, settings):
        request_id = await rig.ask()
        await rig.shows(request_id, "a")
        await rig.requests.cancel(request_id, TENANT)

        async def is_noted() -> bool:
            return await usage(rig, request_id) == [{"completion_tokens": 1, "estimated": True}]

        await wait_until(is_noted, description="the usage to be recorded")


async def test_the_usage_of_a_dead_worker_is_recorded_once_even_if_it_resumes(
    rig: Rig, settings: Settings
) -> None:
    queue = Queue(rig.connections, settings, worker="zombie")
    request_id = await rig.ask()
    lease = await queue.claim(0, "nonce")
    assert isinstance(lease, Lease)
    await write(rig, lease, "a", "b", "c")
    await rig.connections.ask("ZADD", KEYS.running(0), 1, request_id)
    async with working(rig.url, settings):
        await rig.ended(request_id)
    await queue.account(lease, {"completion_tokens": 77})
    first, second = await usage(rig, request_id)
    assert first == {"completion_tokens": 3, "estimated": True}
    assert second is not None


async def write(rig: Rig, lease: Lease, *texts: str) -> None:
    appender = Appender(rig.connections, rig.settings)
    running = asyncio.create_task(appender.run())
    await appender.ready()
    written = asyncio.Event()
    values = [encode_text("delta", text) for text in texts]
    appender.append(
        appender.target(lease.request_id, lease.attempt), 1, values, lambda answer: written.set()
    )
    await written.wait()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
