"""Connections: a failure of Redis is Unavailable, in time, and nothing else is."""

import asyncio
import functools
import time
from collections.abc import AsyncIterator

import pytest
import uvloop
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as ConnectionLost
from redis.exceptions import DataError, ResponseError

from tests.broker.address import port_of, through
from tests.support.keyspace import KEYS
from tests.support.proxy import FaultProxy
from tests.support.servers import ValkeyServer
from tests.support.wait import wait_until
from tickertape.broker.connections import TIMING, Connections, ConnectionTiming
from tickertape.broker.errors import Unavailable
from tickertape.broker.lua import Scripts
from tickertape.broker.redis_errors import failures_mapped

OF_A_REQUEST: dict[str, str | int] = {"request_id": "r0_x", "tenant": "t", "max_tenants": 1}


@pytest.fixture
async def connections(redis_url: str) -> AsyncIterator[Connections]:
    open_connections = Connections(redis_url)
    yield open_connections
    await open_connections.aclose()


@pytest.fixture
async def proxy(redis_url: str) -> AsyncIterator[FaultProxy]:
    async with FaultProxy(port_of(redis_url)) as running:
        yield running


async def test_closing_leaves_no_connection_behind(redis_url: str) -> None:
    async with Redis.from_url(redis_url) as other:
        before = len(await other.client_list())
        connections = Connections(redis_url)
        await connections.ask("PING")
        assert len(await other.client_list()) == before + 1
        await connections.aclose()
        await connections.aclose()

        async def are_gone() -> bool:
            return len(await other.client_list()) == before

        await wait_until(are_gone, description="the server saw the connections close")


async def test_commands_are_answered_in_bytes_and_in_their_order(connections: Connections) -> None:
    await connections.ask("SET", "a", "é")
    assert await connections.ask_all([("GET", "a"), ("HGETALL", "b"), ("STRLEN", "a")]) == [
        "é".encode(),
        {},
        2,
    ]
    assert await connections.ask_all([]) == []


async def test_options_in_the_url_cannot_change_time_outs_protocol_or_replies(
    redis_url: str,
) -> None:
    """A short socket time-out would cut slow commands, another protocol change every reply."""
    connections = Connections(
        redis_url + "?socket_timeout=0.05&protocol=3&decode_responses=true"
        "&max_connections=1&timeout=0.01&client_name=me"
    )
    assert await connections.ask("BLPOP", "nothing", 0.2) is None
    assert await connections.ask("CLIENT", "GETNAME") == b"me"
    assert await connections.ask("ZADD", "z", 1, "a") == 1
    assert await connections.ask("ZRANGE", "z", 0, -1) == [b"a"]
    await connections.aclose()
    connection = connections.unpooled()
    await connection.connect()  # type: ignore[no-untyped-call]  # redis-py leaves it bare
    assert connection.socket_timeout == TIMING.command_timeout_s
    await connection.disconnect()


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://", "redis://"),
        ("redis://me:sesame@Host:7/2?client_name=sesame", "redis://Host:7/2"),
        ("rediss://:sesame@[::1]:7", "rediss://[::1]:7"),
        ("unix://me:sesame@/run/redis.sock?db=1", "unix:///run/redis.sock?db=1"),
    ],
)
async def test_an_address_for_people_holds_no_password(url: str, address: str) -> None:
    connections = Connections(url)
    assert connections.address == address
    await connections.aclose()


async def test_a_server_that_is_not_there_is_unavailable() -> None:
    connections = Connections("redis://127.0.0.1:1")
    with pytest.raises(Unavailable):
        await connections.ask("PING")
    with pytest.raises(Unavailable):
        await connections.ask_all([("PING",)])
    with pytest.raises(Unavailable):
        await connections.agree_on_partitions(1)
    await connections.aclose()


async def test_a_server_that_came_back_is_used_again(own_redis: ValkeyServer) -> None:
    connections = Connections(own_redis.url)
    await connections.ask("SET", "a", "1")
    own_redis.kill()
    with pytest.raises(Unavailable):
        await connections.ask("GET", "a")
    own_redis.start()
    assert await connections.ask("GET", "a") == b"1"
    await connections.aclose()


def test_a_connection_lost_before_a_write_is_a_connection_error_on_uvloop_too(
    redis_url: str,
) -> None:
    """It was a RuntimeError, which nothing repeats: a reset at that moment ended the worker."""

    async def write_to_what_is_lost() -> None:
        connections = Connections(redis_url)
        pooled = connections.commands.connection_pool.make_connection()  # type: ignore[no-untyped-call]  # bare in redis-py
        for connection in (pooled, connections.unpooled()):
            await connection.connect()
            assert connection._writer is not None
            connection._writer.transport.abort()
            is_closed = functools.partial(_is_closed, connection._writer.transport)
            await wait_until(is_closed, description="the loop to close what was aborted")
            with pytest.raises(ConnectionLost):
                await connection.send_command("PING")
        await connections.aclose()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(write_to_what_is_lost())


def _is_closed(transport: asyncio.WriteTransport) -> bool:
    return "closed=True" in repr(transport)  # uvloop tells nobody else


async def test_a_wrong_password_is_unavailable_and_not_shown(redis_url: str) -> None:
    connections = Connections(redis_url.replace("redis://:", "redis://:sesame"))
    with pytest.raises(Unavailable) as caught:
        await connections.ask("PING")
    assert "sesame" not in str(caught.value)
    await connections.aclose()


async def test_a_server_that_never_answers_is_unavailable(
    redis_url: str, proxy: FaultProxy
) -> None:
    timing = ConnectionTiming(connect_timeout_s=0.3, command_timeout_s=0.3)
    connections = Connections(through(proxy, redis_url), timing)
    await connections.ask("PING")
    proxy.is_blackhole = True
    with pytest.raises(Unavailable):
        await connections.ask("PING")
    proxy.is_blackhole = False
    assert await connections.ask("PING") in (True, b"PONG")
    await connections.aclose()


@pytest.mark.slow
async def test_a_server_that_hangs_is_reported_after_one_limit_despite_repeats(
    redis_url: str, proxy: FaultProxy
) -> None:
    # Each repeat has its own time-out. The limit ends the command with all its repeats.
    timing = ConnectionTiming(command_timeout_s=0.6, command_limit_s=0.9)
    connections = Connections(through(proxy, redis_url), timing)
    scripts = Scripts(connections.commands, limit_s=timing.command_limit_s)
    await connections.ask("SET", "a", "1")
    proxy.is_blackhole = True
    for call in (
        lambda: connections.ask("GET", "a"),
        lambda: connections.ask_all([("GET", "a")]),
        lambda: scripts.call("position", [KEYS.ring(0)], **OF_A_REQUEST),
    ):
        started_s = time.monotonic()
        with pytest.raises(Unavailable):
            await call()
        assert time.monotonic() - started_s < 1.7
    proxy.is_blackhole = False
    assert await connections.ask("GET", "a") == b"1"
    await connections.aclose()


async def test_a_script_that_redis_forgot_twice_in_one_call_is_unavailable(
    connections: Connections, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As after a restart and a flush: redis-py loads it once more, and asks once more.
    commands = connections.commands
    await commands.script_flush()
    load = commands.script_load

    async def load_and_forget(script: str) -> str:
        sha: str = await load(script)
        await commands.script_flush()
        return sha

    monkeypatch.setattr(commands, "script_load", load_and_forget)
    with pytest.raises(Unavailable):
        await Scripts(commands).call("position", [KEYS.ring(0)], **OF_A_REQUEST)
    monkeypatch.undo()
    assert await Scripts(commands).call("position", [KEYS.ring(0)], **OF_A_REQUEST) is not None


async def test_cancelled_reads_do_not_shift_later_replies(
    redis_url: str, proxy: FaultProxy
) -> None:
    """A reply nobody read would be taken for the reply to the next command on that connection."""
    connections = Connections(through(proxy, redis_url))
    for number in range(10):
        await connections.ask("SET", f"key{number}", str(number))
    proxy.delay_s = 0.005
    for number in range(10):
        asked = asyncio.create_task(connections.ask("GET", "key0"))
        await asyncio.wait([asked], timeout=0.002 * (number + 1))
        asked.cancel()
        await asyncio.gather(asked, return_exceptions=True)
        assert await connections.ask("GET", f"key{number}") == str(number).encode()
    await connections.aclose()


@pytest.mark.parametrize(
    ("config", "back"),
    [
        (("CONFIG", "SET", "maxmemory", "1"), ("CONFIG", "SET", "maxmemory", "0")),
        (
            ("CONFIG", "SET", "min-replicas-to-write", "1"),
            ("CONFIG", "SET", "min-replicas-to-write", "0"),
        ),
        (("REPLICAOF", "127.0.0.1", "1"), ("REPLICAOF", "NO", "ONE")),
    ],
    ids=["out of memory", "too few replicas", "read only"],
)
async def test_a_server_that_accepts_no_writes_is_unavailable(
    connections: Connections, config: tuple[str, ...], back: tuple[str, ...]
) -> None:
    write = connections.commands.register_script("return redis.call('SET', KEYS[1], 'x')")
    await connections.ask(*config)
    try:
        with pytest.raises(Unavailable, match="cannot take writes"):
            await connections.ask("SET", "a", "x")
        with pytest.raises(Unavailable, match="cannot take writes"), failures_mapped():
            await write(keys=["a"])
    finally:
        await connections.ask(*back)
    await connections.ask("SET", "a", "x")


async def test_a_server_that_cannot_save_is_unavailable() -> None:
    with pytest.raises(Unavailable, match="cannot take writes"), failures_mapped():
        raise ResponseError("MISCONF Errors writing to the AOF file: No space left on device")


async def test_a_programming_error_is_not_mistaken_for_an_outage(connections: Connections) -> None:
    await connections.ask("SET", "a", "x")
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        await connections.ask("LPOP", "a")
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        await connections.ask_all([("LPOP", "a")])
    with pytest.raises(DataError):
        await connections.ask("SET", "a", None)  # type: ignore[arg-type]  # the mistake
