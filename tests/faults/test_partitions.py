"""The number of partitions changes while everything runs."""

import asyncio
import contextlib
import subprocess
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.support.followers import following
from tests.support.keyspace import KEYS
from tests.support.programs import command, environment
from tests.support.rig import Rig, open_rig, working
from tests.support.running_api import RunningApi, running_api
from tests.support.script import Finish, Role, Text, Wait, answer
from tests.support.sse import collect, text_of
from tests.support.upstream import ScriptedUpstream
from tests.support.wait import wait_until
from tickertape.broker.partition_map import PartitionMap
from tickertape.broker.request_ids import partition_of
from tickertape.runtime.settings import Settings

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

KILLED = 137


@contextlib.asynccontextmanager
async def system(
    redis_url: str, upstream: ScriptedUpstream, partitions: int
) -> AsyncIterator[tuple[RunningApi, RunningApi]]:
    """Two API processes and two workers; each has read the map for itself."""
    given: dict[str, Any] = {
        "openai_base_url": upstream.base_url,
        "partitions": partitions,
        "tenant_limit": 10_000,
        "heartbeat_s": 1.0,
    }
    settings = Settings.model_validate(given)
    async with (
        running_api(redis_url, **given) as first,
        running_api(redis_url, **given) as second,
        working(redis_url, settings),
        working(redis_url, settings),
    ):
        yield first, second


async def run_partitions(redis_url: str, *arguments: str, fault: str = "") -> tuple[int, str]:
    """Run `tickertape partitions`; returns its exit code and what it printed."""
    settings = {"REDIS_URL": redis_url} | ({"TICKERTAPE_FAULT": fault} if fault else {})
    ended = await asyncio.to_thread(
        subprocess.run,
        command("partitions", *arguments),
        env=environment(**settings),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return ended.returncode, ended.stdout + ended.stderr


async def stored(rig: Rig) -> PartitionMap:
    return PartitionMap.decode(await rig.connections.ask("GET", KEYS.partition_map()))


async def test_a_system_grows_and_shrinks_under_load_and_no_request_is_lost_or_run_twice(
    redis_url: str, upstream: ScriptedUpstream
) -> None:
    upstream.script = [Role(), Text("a"), Text("b"), Finish()]
    submitted: dict[str, set[str]] = {}
    slowest_s = 0.0
    is_over = asyncio.Event()

    async def caller(api: RunningApi, name: str) -> None:
        nonlocal slowest_s
        number = 0
        while not is_over.is_set():
            number += 1
            begun_s = time.monotonic()
            fields: dict[str, Any] = {}
            if number % 3 == 0:
                fields["conversation_id"] = f"{name}-{number % 7}"
            request_id = await api.submit(f"{name} {number}", **fields)
            assert text_of(await collect(api.stream_url(request_id))) == "ab"
            slowest_s = max(slowest_s, time.monotonic() - begun_s)
            submitted.setdefault(name, set()).add(request_id)

    async with system(redis_url, upstream, 1) as apis, open_rig(redis_url) as rig:
        callers = [
            asyncio.create_task(caller(api, f"{n}{at}"))
            for at, api in enumerate(apis)
            for n in "ab"
        ]
        for count in ("8", "1"):
            code, printed = await run_partitions(redis_url, count)
            assert (code, f"new requests go to {count}" in printed) == (0, True)
            await asyncio.sleep(2)  # the time that the documents promise
        is_over.set()
        await asyncio.gather(*callers)
        for api in apis:
            assert await api.is_ready()
            assert api.problems == []
        assert (await stored(rig)).partitions == 1
    ids = set().union(*submitted.values())
    assert len({partition_of(request_id) for request_id in ids}) == 8
    assert len(upstream.calls) == len(ids)
    assert slowest_s < 10


async def test_answers_that_are_written_go_on_in_a_partition_that_is_left(
    redis_url: str, upstream: ScriptedUpstream
) -> None:
    gate = asyncio.Event()
    upstream.script = [Role(), Text("a"), Wait(gate), Text("b"), Finish()]
    async with system(redis_url, upstream, 8) as (first, second):
        ids = [await first.submit() for _ in range(12)]
        async with contextlib.AsyncExitStack() as stack:
            readers = [
                await stack.enter_async_context(following(second.stream_url(request_id)))
                for request_id in ids
            ]
            for reader in readers:
                await reader.shows("a")
            code, _ = await run_partitions(redis_url, "1")
            assert code == 0
            gate.set()
            for reader in readers:
                await reader.ends()
                assert reader.text == "ab"
        assert partition_of(await second.submit()) == 0


async def test_a_reader_of_a_conversation_sees_its_next_turn_after_the_change(
    redis_url: str, upstream: ScriptedUpstream
) -> None:
    upstream.script = answer("a")
    async with system(redis_url, upstream, 1) as (first, second):
        # The conversation does not exist yet, and begins where the new map says.
        url = f"{first.url}/conversations/later-3/stream"
        async with following(url) as reader:
            await run_partitions(redis_url, "16")
            await second.submit(conversation_id="later-3")
            await wait_until(lambda: reader.text == "a", description="the turn")


@pytest.mark.parametrize(
    "fault", ["before_remap", "after_remap", "before_fence:3", "before_remap:2"]
)
async def test_a_change_that_is_killed_half_way_is_finished_by_the_same_command(
    redis_url: str, fault: str
) -> None:
    async with open_rig(redis_url) as rig:
        await rig.connections.agree_on_partitions(1)
        first = await rig.submit(idempotency_key="k", fingerprint="f")
        code, _ = await run_partitions(redis_url, "4", fault=fault)
        assert code == KILLED
        # Submits are accepted in between, whatever the command left behind.
        assert await rig.submit(idempotency_key="k", fingerprint="f") == first
        await rig.submit()
        code, printed = await run_partitions(redis_url, "4")
        assert (code, "new requests go to 4 partitions" in printed) == (0, True)
        assert (await stored(rig)).next is None
        assert (await stored(rig)).partitions == 4
        assert await rig.submit(idempotency_key="k", fingerprint="f") == first


async def test_the_command_shows_what_keeps_an_earlier_map_and_drops_it_when_that_is_gone(
    redis_url: str,
) -> None:
    code, printed = await run_partitions(redis_url)
    assert (code, "no process has used this Redis yet" in printed) == (1, True)
    async with open_rig(redis_url) as rig:
        await rig.connections.agree_on_partitions(1)
        await rig.submit(conversation_id="c1")
        await run_partitions(redis_url, "7")
        code, printed = await run_partitions(redis_url)
        assert code == 0
        assert "the map of 1 partition is kept for 1 conversations" in printed
        for name in await rig.connections.ask("KEYS", "*}:conv:*"):
            await rig.connections.ask("DEL", name)
        code, printed = await run_partitions(redis_url, "7")
        assert (code, printed) == (0, "new requests go to 7 partitions, by map 2\n")
        assert await stored(rig) == PartitionMap(7, 2)
