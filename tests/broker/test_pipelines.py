"""Many commands in one round trip fail as a single one does."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from redis.exceptions import ResponseError

from tests.support.servers import ValkeyServer
from tests.support.wait import wait_until
from tickertape.broker.connections import Connections
from tickertape.broker.errors import Unavailable

_ENDLESS = "while true do end"


@pytest.fixture
async def connections(own_redis: ValkeyServer) -> AsyncIterator[Connections]:
    open_connections = Connections(own_redis.url)
    yield open_connections
    await open_connections.aclose()


@contextlib.asynccontextmanager
async def a_script_that_does_not_end(connections: Connections) -> AsyncIterator[None]:
    """Someone else's, on this server; it is killed at the end of the block."""
    await connections.ask("CONFIG", "SET", "busy-reply-threshold", "1")
    running = asyncio.create_task(connections.ask("EVAL", _ENDLESS, 0))

    async def is_busy() -> bool:
        try:
            await connections.ask("PING")
        except Unavailable:
            return True
        return False

    try:
        await wait_until(is_busy, description="the server is busy")
        yield
    finally:
        await connections.ask("SCRIPT", "KILL")
        await asyncio.gather(running, return_exceptions=True)


async def test_a_server_that_is_busy_with_a_script_is_unavailable_to_many_commands_as_to_one(
    connections: Connections,
) -> None:
    async with a_script_that_does_not_end(connections):
        with pytest.raises(Unavailable, match="cannot take writes"):
            await connections.ask("GET", "a")
        with pytest.raises(Unavailable, match="cannot take writes"):
            await connections.ask_all([("GET", "a"), ("GET", "b")])
    assert await connections.ask_all([("GET", "a"), ("GET", "b")]) == [None, None]


async def test_the_first_of_many_commands_that_fails_is_raised_in_the_server_s_words(
    connections: Connections,
) -> None:
    await connections.ask("SET", "a", "x")
    with pytest.raises(ResponseError, match=r"^WRONGTYPE"):
        await connections.ask_all([("GET", "a"), ("LPOP", "a"), ("NO-SUCH-COMMAND",)])
