"""A wake that is lost, or goes to a worker that cannot answer it, delays a request and no more."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from unittest import mock

import pytest

from tests.support.given_settings import GivenSettings
from tests.support.keyspace import KEYS
from tests.support.rig import Rig, open_rig, working
from tests.support.script import Role, Text, Wait, answer
from tests.support.upstream import ScriptedUpstream
from tests.support.wait import wait_until
from tickertape.broker.leases import Lease, Nothing
from tickertape.runtime.settings import Settings
from tickertape.worker.worker_channels import WorkerChannels


@contextlib.contextmanager
def lost_wakes() -> Iterator[None]:
    """No worker of this process gets a wake from now on."""
    with mock.patch.object(WorkerChannels, "on_pushed", return_value=None):
        yield


def settings_for(upstream: ScriptedUpstream, partitions: int = 1) -> Settings:
    return GivenSettings(
        openai_base_url=upstream.base_url, openai_model="m", lease_s=1, partitions=partitions
    )


@contextlib.asynccontextmanager
async def idle_worker(redis_url: str, settings: Settings, *, slots: int = 8) -> AsyncIterator[Rig]:
    """A real worker that has found nothing in any partition."""
    async with open_rig(redis_url, settings) as rig, working(redis_url, settings, slots=slots):
        await listed(rig, 1)
        yield rig


async def listed(rig: Rig, count: int) -> None:
    """Wait until `count` workers are listed as idle in each partition."""
    for partition in range(rig.settings.partitions):

        async def are(key: str = KEYS.idle(partition)) -> bool:
            return int(await rig.connections.ask("ZCARD", key)) == count

        await wait_until(are, description=f"{count} workers are idle in partition {partition}")


@pytest.mark.parametrize("partitions", [1, 8])
async def test_a_request_whose_wake_was_lost_is_found_by_a_look(
    redis_url: str, upstream: ScriptedUpstream, partitions: int
) -> None:
    upstream.script = answer("a")
    async with idle_worker(redis_url, settings_for(upstream, partitions)) as rig:
        with lost_wakes():
            assert (await rig.ended(await rig.ask(), timeout_s=5)).status == "completed"


async def test_a_request_of_an_old_api_process_is_found_by_a_look(
    redis_url: str, upstream: ScriptedUpstream
) -> None:
    """Its script leaves a token and knows no idle workers."""
    upstream.script = answer("a")
    async with idle_worker(redis_url, settings_for(upstream)) as rig:
        await rig.connections.ask("RENAME", KEYS.idle(0), "{p0}:elsewhere")
        request_id = await rig.ask()
        assert await rig.connections.ask("LLEN", KEYS.wake(0)) in {0, 1}
        assert (await rig.ended(request_id, timeout_s=5)).status == "completed"
        assert await rig.connections.ask("LLEN", KEYS.wake(0)) == 0


async def test_an_old_worker_gets_a_token_when_all_new_workers_are_full(
    redis_url: str, upstream: ScriptedUpstream
) -> None:
    upstream.script = [Role(), Text("a"), Wait(asyncio.Event())]
    async with idle_worker(redis_url, settings_for(upstream), slots=1) as rig:
        await rig.shows(await rig.ask(), "a")
        waiting = asyncio.create_task(rig.connections.ask("BLPOP", KEYS.wake(0), 4))
        request_id = await rig.ask()
        assert await waiting is not None
        lease = await rig.claim_lease()
        assert lease.request_id == request_id


async def test_a_dead_idle_worker_costs_the_next_request_no_time(
    redis_url: str, upstream: ScriptedUpstream
) -> None:
    upstream.script = answer("a")
    settings = settings_for(upstream)
    async with open_rig(redis_url, settings) as dead:
        assert isinstance(await dead.queue.claim(0, "n"), Nothing)
    async with open_rig(redis_url, settings) as rig, working(redis_url, settings):
        await listed(rig, 2)
        await rig.ended(await rig.ask(), timeout_s=5)
        await listed(rig, 1)


async def test_a_woken_worker_without_a_free_slot_lets_another_one_claim(
    redis_url: str, upstream: ScriptedUpstream
) -> None:
    """It is still listed in a partition although its only slot was taken from another one."""
    upstream.script = [Role(), Text("a"), Wait(asyncio.Event())]
    settings = settings_for(upstream, partitions=2)
    async with (
        open_rig(redis_url, settings) as rig,
        working(redis_url, settings, slots=1),
        working(redis_url, settings, slots=1),
    ):
        await listed(rig, 2)
        for _ in range(2):
            await rig.shows(await rig.ask(), "a")


async def test_a_lease_whose_worker_died_unseen_is_found_by_an_idle_worker(
    redis_url: str, upstream: ScriptedUpstream
) -> None:
    """The idle worker last claimed before the lost worker did, and nobody wakes it."""
    upstream.script = answer("a")
    async with idle_worker(redis_url, settings_for(upstream, partitions=8)) as rig:
        with lost_wakes():
            request_id = await rig.ask()
            partition = int(request_id[1 : request_id.index("_")])
            lease = await rig.queue.claim(partition, "lost")
            if isinstance(lease, Lease):  # else a look was quicker
                ended = await rig.ended(request_id, timeout_s=8)
                assert (ended.status, ended.n) == ("completed", 2)


async def test_one_of_many_idle_workers_is_woken(redis_url: str) -> None:
    """A hundred listed workers and one request: one message, to one of them."""
    async with open_rig(redis_url) as rig:
        pubsub = rig.connections.commands.pubsub()
        for number in range(100):
            name = f"w{number}"
            await rig.connections.ask("ZADD", KEYS.idle(0), number, name)
            await pubsub.ssubscribe(KEYS.worker_channel(0, name))
        await rig.submit()
        assert await rig.connections.ask("ZCARD", KEYS.idle(0)) == 99
        await pubsub.ping("end")
        pushed = 0
        while (message := await pubsub.get_message(timeout=5)) and message["type"] != "pong":
            pushed += message["type"] == "smessage"
        assert pushed == 1
        await pubsub.aclose()  # type: ignore[no-untyped-call]  # bare in redis-py
