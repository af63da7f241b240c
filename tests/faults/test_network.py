"""A network that is slow, loses bytes, and breaks, between any two of the processes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from tests.support.followers import following
from tests.support.proxy import FaultProxy
from tests.support.rig import working
from tests.support.running_api import RunningApi, running_api
from tests.support.script import Finish, Pause, Role, Script, Text, Wait
from tests.support.servers import ValkeyServer
from tests.support.sse import follow, open_stream
from tests.support.upstream import ScriptedUpstream
from tickertape.runtime.settings import Settings

WORDS = [f"{n} " for n in range(30)]
WHOLE = "".join(WORDS)


@dataclass
class Lines:
    """The proxies between the processes."""

    api: RunningApi
    api_to_redis: FaultProxy
    worker_to_redis: FaultProxy
    worker_to_upstream: FaultProxy
    reader_to_api: FaultProxy

    def stream(self, request_id: str) -> str:
        """The URL of a stream through the proxy between readers and the API."""
        return f"http://127.0.0.1:{self.reader_to_api.port}/chat/{request_id}/stream"


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2].partition("/")[0])


@asynccontextmanager
async def system(
    redis: ValkeyServer, upstream: ScriptedUpstream, **settings: Any
) -> AsyncIterator[Lines]:
    async with AsyncExitStack() as stack:

        async def proxied(url: str) -> tuple[FaultProxy, str]:
            proxy = await stack.enter_async_context(FaultProxy(port_of(url)))
            return proxy, url.replace(f":{port_of(url)}", f":{proxy.port}")

        api_to_redis, api_redis_url = await proxied(redis.url)
        worker_to_redis, worker_redis_url = await proxied(redis.url)
        worker_to_upstream, upstream_url = await proxied(upstream.base_url)
        shared_settings = {
            "openai_base_url": upstream_url,
            "lease_s": 5.0,
            "heartbeat_s": 0.3,
            **settings,
        }
        api = await stack.enter_async_context(running_api(api_redis_url, **shared_settings))
        await stack.enter_async_context(
            working(worker_redis_url, Settings.model_validate(shared_settings))
        )
        reader_to_api, _ = await proxied(api.url)
        yield Lines(api, api_to_redis, worker_to_redis, worker_to_upstream, reader_to_api)


def slow_words() -> Script:
    return [Role(), *(step for word in WORDS for step in (Text(word), Pause(0.02))), Finish()]


@pytest.mark.parametrize("line", ["api_to_redis", "worker_to_redis", "reader_to_api"])
async def test_repeatedly_broken_connections_lose_no_word(
    own_redis: ValkeyServer, upstream: ScriptedUpstream, line: str
) -> None:
    upstream.script = slow_words()
    async with system(own_redis, upstream) as lines:
        request_id = await lines.api.submit()
        async with following(lines.stream(request_id), comes_back=True) as reader:
            proxy: FaultProxy = getattr(lines, line)
            for n in (3, 10, 20):
                await reader.contains(WORDS[n])
                proxy.reset_all()
            await reader.ends(timeout_s=20)
        record = await lines.api.read(request_id)
    assert reader.text == record["text"] == WHOLE
    assert (record["status"], record["n"]) == ("completed", 1)
    assert len({event.cursor for event in reader.events if event.cursor}) == len(WORDS) + 3


async def test_a_request_whose_upstream_connection_breaks_is_retried_and_nothing_is_spliced(
    own_redis: ValkeyServer, upstream: ScriptedUpstream
) -> None:
    upstream.script = slow_words()
    async with system(own_redis, upstream) as lines:
        request_id = await lines.api.submit()
        async with following(lines.stream(request_id), comes_back=True) as reader:
            await reader.contains(WORDS[5])
            lines.worker_to_upstream.reset_all()
            await reader.ends(timeout_s=20)
    assert reader.text == WHOLE
    assert [e.kind for e in reader.events if e.kind != "delta"] == [
        "queued", "started", "reset", "completed",
    ]  # fmt: skip
    assert len(upstream.calls) == 2


@pytest.mark.slow
async def test_a_request_whose_upstream_falls_silent_is_retried(
    own_redis: ValkeyServer, upstream: ScriptedUpstream
) -> None:
    upstream.script = slow_words()
    async with system(own_redis, upstream, stall_s=0.5, first_byte_s=1.0) as lines:
        request_id = await lines.api.submit()
        async with following(lines.stream(request_id), comes_back=True) as reader:
            await reader.contains(WORDS[5])
            lines.worker_to_upstream.is_blackhole = True
            await reader.receives("reset")
            lines.worker_to_upstream.is_blackhole = False
            await reader.ends(timeout_s=30)
    assert reader.text == WHOLE
    reasons = [event.data["reason"] for event in reader.events if event.kind == "reset"]
    assert reasons[0] == "upstream_stalled"


@pytest.mark.slow
async def test_a_worker_with_a_slow_connection_to_redis_loses_no_lease(
    own_redis: ValkeyServer, upstream: ScriptedUpstream
) -> None:
    upstream.script = slow_words()
    async with system(own_redis, upstream, lease_s=3.0) as lines:
        lines.worker_to_redis.delay_s = lines.api_to_redis.delay_s = 0.1
        stream = lines.stream(await lines.api.submit())
        async with following(stream, comes_back=True) as reader:
            await reader.ends(timeout_s=30)
    assert reader.text == WHOLE
    # A claim takes so long that the reader may get a place in the queue first.
    kinds = [e.kind for e in reader.events if e.kind not in {"delta", "position"}]
    assert kinds == ["queued", "started", "completed"]


@pytest.mark.slow
@pytest.mark.parametrize("line", ["api_to_redis", "worker_to_redis"])
async def test_silently_dead_connections_to_redis_are_noticed_and_replaced(
    own_redis: ValkeyServer, upstream: ScriptedUpstream, line: str
) -> None:
    gate = asyncio.Event()
    first, rest = WORDS[:5], WORDS[5:]
    upstream.script = [Role(), *map(Text, first), Wait(gate), *map(Text, rest), Finish()]
    async with system(own_redis, upstream, lease_s=20.0) as lines:
        request_id = await lines.api.submit()
        async with following(lines.stream(request_id), comes_back=True) as reader:
            await reader.contains(WORDS[4])
            proxy: FaultProxy = getattr(lines, line)
            proxy.is_blackhole = True
            gate.set()
            await asyncio.sleep(1)
            # A connection that lost bytes stays dead; only new connections get through.
            proxy.is_blackhole = False
            await reader.ends(timeout_s=30)
        record = await lines.api.read(request_id)
    assert reader.text == WHOLE
    assert record["n"] == 1


async def test_a_reader_that_stops_reading_delays_no_other_and_can_resume(
    own_redis: ValkeyServer, upstream: ScriptedUpstream
) -> None:
    gate = asyncio.Event()
    upstream.script = [Role(), Text("first "), Wait(gate), Text("last"), Finish()]
    async with system(own_redis, upstream) as lines:
        request_id = await lines.api.submit()
        async with open_stream(lines.stream(request_id)) as stuck:
            events = aiter(stuck)
            cursor = [await anext(events) for _ in range(3)][-1].cursor
            lines.reader_to_api.is_blackhole = True
            async with following(lines.api.stream_url(request_id), comes_back=True) as others:
                gate.set()
                await others.ends(timeout_s=10)
            assert others.text == "first last"
            lines.reader_to_api.is_blackhole = False
            back = [
                e async for e in follow(lines.stream(request_id), {"Last-Event-ID": str(cursor)})
            ]
    assert [event.kind for event in back] == ["delta", "completed"]
