"""A cluster whose slots move and whose masters die all the time, under load."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator

import pytest

from tests.faults.test_cluster import PARTITIONS, slot_of_partition, system
from tests.support.cluster import Cluster, valkey_cluster
from tests.support.followers import Follower, following
from tests.support.running_api import RunningApi
from tests.support.script import Finish, Pause, Role, Text
from tests.support.sse import collect, text_of
from tests.support.tasks import running
from tests.support.upstream import ScriptedUpstream

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

SECONDS = 24.0
WORDS = [f"word{number} " for number in range(40)]


async def harm(cluster: Cluster, rng: random.Random) -> None:
    """Move slots; every ten seconds or so a master dies, and comes back as a replica."""
    while True:
        for _ in range(6):
            slot = slot_of_partition(rng.randrange(PARTITIONS))
            await asyncio.to_thread(cluster.move_slot, slot)
            await asyncio.sleep(0.2)
        dead = await asyncio.to_thread(
            cluster.kill_master_of, slot_of_partition(rng.randrange(PARTITIONS))
        )
        while dead in [
            await asyncio.to_thread(cluster.owner_of, slot_of_partition(n)) for n in (0, 1, 2)
        ]:
            await asyncio.sleep(0.2)
        await asyncio.sleep(1)
        # A child process has to be started in the main thread.
        dead.start()
        await asyncio.to_thread(cluster.settle)


async def ask_all_the_time(
    api: RunningApi, stack: contextlib.AsyncExitStack
) -> AsyncIterator[tuple[str, Follower]]:
    """A request every tenth of a second, each with a reader; a refused submit is repeated."""
    number = 0
    while True:
        number += 1
        headers = {"Idempotency-Key": f"key-{number}"}
        answered = await api.client.post("/chat", json={"message": "hi"}, headers=headers)
        while answered.status_code == 503:
            await asyncio.sleep(0.2)
            answered = await api.client.post("/chat", json={"message": "hi"}, headers=headers)
        # 200: the reply to an earlier call was lost, and its submit was accepted.
        assert answered.status_code in {200, 202}
        request_id = answered.json()["request_id"]
        reader = following(api.stream_url(request_id), comes_back=True)
        yield request_id, await stack.enter_async_context(reader)
        await asyncio.sleep(0.1)


async def test_every_reader_gets_the_text_of_the_log_while_masters_die_and_slots_move(
    upstream: ScriptedUpstream,
) -> None:
    """A fail-over may lose a request that was just accepted; its reader is sent `gone`."""
    steps = [step for word in WORDS for step in (Pause(0.04), Text(word))]
    upstream.script = [Role(), *steps, Finish()]
    with valkey_cluster() as cluster:
        async with (
            system(cluster, upstream, lease_s=5.0) as api,
            contextlib.AsyncExitStack() as stack,
        ):
            readers: list[tuple[str, Follower]] = []
            async with running(harm(cluster, random.Random(7))):
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(SECONDS):
                        async for asked in ask_all_the_time(api, stack):
                            readers.append(asked)  # noqa: PERF401  # kept at the time-out
            for node in cluster.nodes:
                if not node.is_running:
                    node.start()
            await asyncio.to_thread(cluster.settle)
            gone = 0
            for request_id, reader in readers:
                await reader.ends(timeout_s=60)
                if "gone" in reader.kinds:
                    gone += 1
                    continue
                assert reader.kinds[-1] == "completed"
                log = text_of(await collect(api.stream_url(request_id)))
                assert reader.text == log == "".join(WORDS)
            print(f"{len(readers)} readers, {gone} of lost requests")
            assert len(readers) > 20
            assert gone <= len(readers) / 10
