"""FairPool: a tenant with many calls leaves connections to other tenants."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.asyncio.connection import parse_url
from redis.exceptions import ConnectionError as ConnectionLost

from tests.support.servers import ValkeyServer
from tickertape.broker.connections import MAX_COMMAND_CONNECTIONS, Connections
from tickertape.broker.errors import Unavailable
from tickertape.broker.fair_pool import FairPool
from tickertape.runtime.fair_turns import TENANT, FairTurns


@pytest.fixture
async def connections(redis_url: str) -> AsyncIterator[Connections]:
    open_connections = Connections(redis_url)
    yield open_connections
    await open_connections.aclose()


async def _call_all(connections: Connections, order: list[str], tenant: str, calls: int) -> None:
    async def call() -> None:
        await connections.ask("PING")
        order.append(tenant)

    TENANT.set(tenant)
    async with asyncio.TaskGroup() as group:
        for _ in range(calls):
            group.create_task(call())


async def test_a_call_does_not_wait_for_hundreds_of_calls_of_another_tenant(
    connections: Connections,
) -> None:
    order: list[str] = []
    await asyncio.gather(
        _call_all(connections, order, "flood", 300), _call_all(connections, order, "calm", 1)
    )
    # All connections may get their replies in one turn of the loop, and then once more.
    assert order.index("calm") < 3 * MAX_COMMAND_CONNECTIONS
    assert len(order) == 301


async def test_a_tenant_has_few_turns_while_another_one_calls_and_all_of_them_alone() -> None:
    turns = FairTurns(8, share=2)
    assert await _turns_at_once(turns, "flood") == 8
    async with turns.turn("calm"):
        assert await _turns_at_once(turns, "flood") == 2
    assert await _turns_at_once(turns, "") == 8, "the process' own tasks share with nobody"


async def _turns_at_once(turns: FairTurns, tenant: str) -> int:
    open_now, most = 0, 0

    async def call() -> None:
        nonlocal open_now, most
        async with turns.turn(tenant):
            open_now += 1
            most = max(most, open_now)
            await asyncio.sleep(0)
            open_now -= 1

    await asyncio.gather(*(call() for _ in range(20)))
    return most


async def test_a_call_that_gets_no_connection_in_time_fails_and_leaves_the_turn_to_others(
    redis_url: str,
) -> None:
    pool = FairPool(max_connections=1, timeout=0.01, **parse_url(redis_url))
    held = await pool.get_connection()
    with pytest.raises(ConnectionLost, match="no connection became free"):
        await pool.get_connection()
    await pool.release(held)
    await pool.release(await pool.get_connection())
    await pool.aclose()


async def test_a_cancelled_call_leaves_its_turn_to_others(connections: Connections) -> None:
    for _ in range(5):
        waiting = [asyncio.create_task(connections.ask("PING")) for _ in range(80)]
        await asyncio.sleep(0)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
    await asyncio.gather(*(connections.ask("PING") for _ in range(80)))


async def test_failures_to_connect_cost_no_connection(own_redis: ValkeyServer) -> None:
    connections = Connections(own_redis.url)
    own_redis.stop()
    for _ in range(3):
        with pytest.raises(Unavailable):
            await connections.ask("PING")
    own_redis.start()
    assert await asyncio.gather(*(connections.ask("PING") for _ in range(MAX_COMMAND_CONNECTIONS)))
    await connections.aclose()
