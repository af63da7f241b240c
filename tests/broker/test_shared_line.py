"""The shared line: scripts are called on it, and each call that it loses is made again."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import pytest
import uvloop
from redis.exceptions import ResponseError

from tests.broker.address import port_of, through
from tests.support.given_settings import GivenSettings
from tests.support.keyspace import KEYS
from tests.support.proxy import FaultProxy
from tests.support.rig import TENANT as RIG_TENANT
from tests.support.rig import Rig, open_rig
from tests.support.tasks import running
from tests.support.wait import wait_until
from tickertape.broker.bulk import BulkConnection
from tickertape.broker.connections import Connections
from tickertape.broker.errors import BrokerError, ConversationBusy, Unavailable
from tickertape.broker.leases import Lease, Nothing
from tickertape.broker.lua import Scripts
from tickertape.broker.shared_line import SharedLine
from tickertape.runtime import fair_turns
from tickertape.runtime.fair_turns import TENANT

SETTINGS = GivenSettings(max_body_bytes=10_000_000)


def line_of(connections: Connections) -> SharedLine:
    assert connections.line is not None
    return connections.line


async def opened(connections: Connections) -> SharedLine:
    """The line of these connections, which a task keeps up."""
    line = line_of(connections)
    await wait_until(lambda: line.is_open, description="an open line")
    return line


@pytest.fixture
async def broker(redis_url: str) -> AsyncIterator[Rig]:
    async with open_rig(redis_url, SETTINGS) as rig:
        await rig.connections.check_server()
        async with running(rig.connections.run_lines()):
            await opened(rig.connections)
            yield rig


@pytest.fixture
async def proxied(redis_url: str) -> AsyncIterator[tuple[FaultProxy, Rig]]:
    async with (
        FaultProxy(port_of(redis_url)) as proxy,
        open_rig(through(proxy, redis_url), SETTINGS) as rig,
    ):
        await rig.connections.check_server()
        async with running(rig.connections.run_lines()):
            await opened(rig.connections)
            yield proxy, rig


@contextmanager
def no_pool(broker: Rig, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fail every call through redis-py in the block."""

    async def refuse(*_: object, **__: object) -> None:
        pytest.fail("redis-py was called")

    with monkeypatch.context() as patched:
        patched.setattr(broker.connections.commands, "execute_command", refuse)
        yield


async def test_scripts_are_called_on_the_line(broker: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    await broker.submit()
    assert isinstance(await broker.queue.claim(0, "a"), Lease)
    with no_pool(broker, monkeypatch):
        ids = await asyncio.gather(*(broker.submit() for _ in range(20)))
        claims = await asyncio.gather(*(broker.queue.claim(0, f"n{n}") for n in range(21)))
    claimed = [each.request_id for each in claims if isinstance(each, Lease)]
    assert sorted(claimed) == sorted(ids)


async def test_a_log_reads_the_same_on_the_line_and_through_redis_py(
    broker: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    request_id = await broker.submit()
    await broker.claim()
    await broker.type("a", "b")
    reads = broker.connections.reads
    assert reads is not None
    await wait_until(lambda: reads.is_open, description="an open line for reads")
    with no_pool(broker, monkeypatch):
        stored = await broker.logs.stored(request_id)
        assert await broker.logs.read("r0_" + "a" * 26) == []
    monkeypatch.setattr(broker.connections, "reads", None)
    assert stored == await broker.logs.stored(request_id)
    assert len(stored) == 4


async def test_the_refusals_of_a_script_come_through(broker: Rig) -> None:
    await broker.submit(conversation_id="c")
    with pytest.raises(ConversationBusy):
        await broker.submit(conversation_id="c", on_busy="reject")


async def test_a_script_that_redis_forgot_is_loaded_again(broker: Rig) -> None:
    first = await broker.submit()
    await broker.connections.ask("SCRIPT FLUSH")
    assert [first, await broker.submit()] == [await broker.claim(), await broker.claim()]


async def test_an_error_of_a_script_is_that_of_redis_py(broker: Rig) -> None:
    await broker.connections.ask("SET", KEYS.ring(0), "no list")
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        await broker.queue.claim(0, "n")
    assert line_of(broker.connections).is_open


async def test_a_large_call_does_not_delay_those_behind_it(
    broker: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    await broker.submit()
    called: list[object] = []
    call = broker.connections.commands.execute_command

    async def noted(*arguments: object, **options: object) -> object:
        called.append(arguments[0])
        return await call(*arguments, **options)  # type: ignore[no-untyped-call]  # bare in redis-py

    monkeypatch.setattr(broker.connections.commands, "execute_command", noted)
    await broker.ask("x" * 100)
    assert "EVALSHA" not in called
    await broker.ask("x" * 100_000)
    assert "EVALSHA" in called


async def test_a_call_whose_line_breaks_is_made_again_and_runs_once(
    proxied: tuple[FaultProxy, Rig],
) -> None:
    proxy, broker = proxied
    await broker.submit()
    lost = proxy.lose_reply_to(b"EVALSHA")
    request_id = await broker.submit()
    assert lost.is_set()
    assert {await broker.claim(), await broker.claim()} >= {request_id}
    assert isinstance(await broker.queue.claim(0, "one more"), Nothing)
    await opened(broker.connections)


async def test_the_line_leaves_a_server_that_takes_no_writes(
    broker: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    await broker.submit()
    left = asyncio.Event()
    leave = BulkConnection.close

    async def noted(connection: BulkConnection) -> None:
        left.set()
        await leave(connection)

    monkeypatch.setattr(BulkConnection, "close", noted)
    await broker.connections.ask("CONFIG SET", "min-replicas-to-write", "1")
    try:
        with pytest.raises(BrokerError):
            await broker.queue.claim(0, "n")
        assert broker.connections.writes.reason is not None
        await left.wait()
    finally:
        await broker.connections.ask("CONFIG SET", "min-replicas-to-write", "0")
    await opened(broker.connections)
    with no_pool(broker, monkeypatch):
        assert isinstance(await broker.queue.claim(0, "m"), Lease)


async def test_a_call_to_a_silent_server_ends_at_its_limit(
    proxied: tuple[FaultProxy, Rig],
) -> None:
    proxy, broker = proxied
    scripts = Scripts(broker.connections.commands, limit_s=0.2)
    proxy.is_blackhole = True
    began_s = time.monotonic()
    with pytest.raises(Unavailable):
        await scripts.call("position", [KEYS.ring(0)], request_id="r0_x", tenant="t", max_tenants=1)
    assert time.monotonic() - began_s < 1
    proxy.is_blackhole = False


async def test_calls_to_a_silent_server_end_each_at_its_own_limit(
    proxied: tuple[FaultProxy, Rig],
) -> None:
    proxy, broker = proxied
    line = line_of(broker.connections)
    ended: list[float] = []

    async def ask(limit_s: float) -> None:
        with pytest.raises(Unavailable):
            await line.ask("PING", limit_s=limit_s)
        ended.append(limit_s)

    proxy.is_blackhole = True
    await asyncio.gather(ask(0.3), ask(0.1), ask(0.2))
    assert ended == [0.1, 0.2, 0.3]
    proxy.is_blackhole = False


def test_calls_without_time_end_as_unavailable_on_uvloop(redis_url: str) -> None:
    """Its handle of a call that is due at once is not one of a timer."""

    async def ask_without_time() -> None:
        async with open_rig(redis_url, SETTINGS) as rig:
            await rig.connections.check_server()
            async with running(rig.connections.run_lines()):
                line = await opened(rig.connections)
                calls = (line.ask("PING", limit_s=0) for _ in range(3))
                ended = await asyncio.gather(*calls, return_exceptions=True)
                assert {type(each) for each in ended} == {Unavailable}
                assert await line.ask("PING", limit_s=5) == b"PONG"

    uvloop.run(ask_without_time())


async def test_a_cancelled_call_does_not_shift_the_replies_of_others(
    proxied: tuple[FaultProxy, Rig],
) -> None:
    proxy, broker = proxied
    await broker.submit()
    proxy.delay_s = 0.05
    cancelled = asyncio.create_task(broker.queue.claim(0, "a"))
    other = asyncio.create_task(broker.submit())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    cancelled.cancel()
    request_id = await other
    proxy.delay_s = 0
    assert request_id.startswith("r0_")
    with pytest.raises(asyncio.CancelledError):
        await cancelled


async def test_a_tenant_with_all_its_turns_waits_while_another_one_is_served(
    proxied: tuple[FaultProxy, Rig], monkeypatch: pytest.MonkeyPatch
) -> None:
    # A machine that stands still for a second would end the sharing.
    monkeypatch.setattr(fair_turns, "_SHARED_S", 60.0)
    proxy, broker = proxied

    async def submit(tenant: str) -> str:
        TENANT.set(tenant)
        return await broker.submit(tenant)

    await asyncio.gather(submit("a"), submit("b"))
    proxy.delay_s = 0.05
    many = [asyncio.create_task(submit("a")) for _ in range(30)]
    await asyncio.sleep(0)
    await asyncio.create_task(submit("b"))
    assert sum(each.done() for each in many) <= 12
    proxy.delay_s = 0
    await asyncio.gather(*many)


async def test_calls_that_wait_for_a_turn_are_made_on_the_line_as_well(
    broker: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def submit(tenant: str) -> str:
        TENANT.set(tenant)
        return await broker.submit(tenant)

    await asyncio.gather(submit("a"), submit("b"))
    with no_pool(broker, monkeypatch):
        ids = await asyncio.gather(*(submit(tenant) for tenant in "ab" * 40))
    assert len(set(ids)) == 80


async def test_a_call_whose_turn_does_not_come_ends_at_its_limit(
    proxied: tuple[FaultProxy, Rig],
) -> None:
    proxy, broker = proxied
    line = line_of(broker.connections)
    proxy.is_blackhole = True
    holding = [asyncio.create_task(line.ask("TIME", limit_s=5)) for _ in range(100)]
    await asyncio.sleep(0)
    with pytest.raises(Unavailable):
        await line.ask("TIME", limit_s=0.1)
    for each in holding:
        each.cancel()
    await asyncio.gather(*holding, return_exceptions=True)
    proxy.is_blackhole = False


async def test_a_small_read_is_made_on_the_line(
    broker: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    request_id = await broker.submit()
    with no_pool(broker, monkeypatch):
        found = await asyncio.gather(
            *(broker.requests.get(request_id, RIG_TENANT) for _ in range(100))
        )
    assert {each.request_id for each in found} == {request_id}
