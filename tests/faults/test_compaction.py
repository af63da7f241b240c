"""A log that is compacted while it is read: each reader gets every entry once."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from tests.api.test_hub import has, running_hub, text
from tests.support.keyspace import KEYS
from tests.support.pushes import lost_pushes
from tests.support.rig import Rig, open_rig, working
from tests.support.running_api import running_api
from tests.support.wait import wait_until
from tickertape.broker.compaction import Compaction
from tickertape.broker.log import PAGE_ENTRIES
from tickertape.runtime.settings import Settings
from tickertape.worker.assembly import WorkerTiming
from tickertape.worker.housekeeping import HousekeepingTiming

TEXTS = [f"{n} " for n in range(30)]


async def write(rig: Rig, texts: list[str] = TEXTS) -> str:
    request_id = await rig.begin()
    await rig.type(*texts)
    await rig.finish()
    return request_id


async def test_a_reader_in_the_middle_of_a_log_gets_the_rest_of_the_compacted_log(
    redis_url: str,
) -> None:
    settings = Settings(heartbeat_s=0.2)
    async with open_rig(redis_url, settings) as rig, running_hub(rig) as hub:
        request_id = await rig.begin()
        async with hub.watch(request_id) as watched:
            await rig.type(*TEXTS)
            await has(watched, "".join(TEXTS))
            with lost_pushes(hub):
                await rig.type(*TEXTS)
                await rig.finish()
                assert await Compaction(rig.connections).compact(0, request_id) == "OK"
                await wait_until(lambda: watched.tape.is_over, description="the end is read")
            assert text(watched) == "".join(TEXTS * 2)
            assert watched.epoch == 0


async def test_a_long_compacted_log_is_read_in_parts(redis_url: str) -> None:
    texts = [str(n) for n in range(2 * PAGE_ENTRIES + 7)]
    async with open_rig(redis_url) as rig, running_hub(rig) as hub:
        request_id = await write(rig, texts)
        before = await rig.entries(request_id)
        await Compaction(rig.connections).compact(0, request_id)
        assert await rig.entries(request_id) == before
        async with hub.watch(request_id) as watched:
            assert watched.tape.entries() == before


async def test_every_cursor_of_a_compacted_log_gets_the_same_bytes(redis_url: str) -> None:
    async with open_rig(redis_url) as rig:
        request_id = await write(rig)
        ids = [str(entry.cursor) for entry in await rig.entries(request_id)]
        before = await replays(redis_url, request_id, ids)
        await Compaction(rig.connections).compact(0, request_id)
        assert await rig.connections.ask("XLEN", KEYS.log(request_id)) == 3
        assert await replays(redis_url, request_id, ids) == before


async def replays(redis_url: str, request_id: str, ids: list[str]) -> list[tuple[int, bytes]]:
    """The stream from each cursor on, the raw text, and the request, from a new process."""
    found = []
    async with running_api(redis_url) as api:
        path = f"/chat/{request_id}"
        for headers in ({}, *({"Last-Event-ID": each} for each in ids)):
            response = await api.client.get(f"{path}/stream", headers=headers)
            found.append((response.status_code, response.content))
        for each in (f"{path}/stream?format=text", f"{path}/stream?snapshot=1", path):
            response = await api.client.get(each)
            found.append((response.status_code, response.content))
    return found


@contextlib.asynccontextmanager
async def compacting_worker(redis_url: str, **settings: Any) -> AsyncIterator[None]:
    timing = WorkerTiming(housekeeping=HousekeepingTiming(round_s=0.05, partition_s=0))
    async with working(redis_url, Settings(openai_model="m", **settings), timing=timing):
        yield


async def test_a_worker_compacts_the_logs_that_have_ended(redis_url: str) -> None:
    async with open_rig(redis_url) as rig:
        ids = [await write(rig) for _ in range(20)]
        running = await rig.begin()
        await rig.type(*TEXTS)

        async def are_compacted() -> bool:
            keys = [KEYS.log(request_id) for request_id in ids]
            return await rig.connections.ask_all([("XLEN", key) for key in keys]) == [3] * 20

        async with compacting_worker(redis_url, compact_after_s=0.001, lease_s=300):
            await wait_until(are_compacted, description="all logs are compacted")
        assert len(await rig.entries(running)) == len(TEXTS) + 2


async def test_a_worker_leaves_logs_alone_until_their_time(redis_url: str) -> None:
    async with open_rig(redis_url) as rig:
        request_id = await write(rig)
        async with compacting_worker(redis_url, compact_after_s=0):
            pass
        async with compacting_worker(redis_url, compact_after_s=600):
            await asyncio.sleep(0)
        assert await rig.connections.ask("XLEN", KEYS.log(request_id)) == len(TEXTS) + 3
