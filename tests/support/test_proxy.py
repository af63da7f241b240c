"""The fault proxy harms a real Redis connection as its attributes are set."""

import time
from collections.abc import AsyncIterator

import pytest
import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from tests.support.proxy import FaultProxy
from tests.support.servers import ValkeyServer


@pytest.fixture
async def proxy(redis_server: ValkeyServer, redis_url: str) -> AsyncIterator[FaultProxy]:
    async with FaultProxy(redis_server.port) as proxy:
        yield proxy


@pytest.fixture
async def client(
    proxy: FaultProxy, redis_server: ValkeyServer
) -> AsyncIterator[redis.asyncio.Redis]:
    url = redis_server.url.replace(f":{redis_server.port}", f":{proxy.port}")
    client = redis.asyncio.Redis.from_url(url, retry=Retry(NoBackoff(), 0), socket_timeout=0.2)
    async with client:
        await client.ping()
        yield client


async def test_a_lost_reply_leaves_the_write_done(
    proxy: FaultProxy, client: redis.asyncio.Redis
) -> None:
    lost = proxy.lose_reply_to(b"incr")
    with pytest.raises(redis.ConnectionError):
        await client.incr("n")
    assert lost.is_set()
    assert await client.get("n") == b"1"


async def test_a_reset_breaks_the_connection_and_a_new_one_works(
    proxy: FaultProxy, client: redis.asyncio.Redis
) -> None:
    proxy.reset_all()
    with pytest.raises(redis.ConnectionError):
        await client.ping()
    await client.ping()
    assert proxy.connection_count == 2


async def test_a_black_hole_loses_bytes_and_its_connections_stay_dead(
    proxy: FaultProxy, client: redis.asyncio.Redis
) -> None:
    proxy.is_blackhole = True
    with pytest.raises(redis.TimeoutError):
        await client.incr("n")
    proxy.is_blackhole = False
    assert await client.get("n") is None


async def test_a_delay_holds_back_both_directions(
    proxy: FaultProxy, client: redis.asyncio.Redis
) -> None:
    proxy.delay_s = 0.02
    started_s = time.monotonic()
    await client.ping()
    assert time.monotonic() - started_s >= 0.04
