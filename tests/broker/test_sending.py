"""How commands are sent: a small one at once, and a large one within its time limit."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine, Iterator
from typing import Any, TypeVar

import pytest
from redis.asyncio.connection import AbstractConnection

from tickertape.broker.connections import Connections

T = TypeVar("T")
# redis-py's task around a write, which Python 3.11 needs for a time limit.
SENDING = AbstractConnection._send_packed_command.__qualname__
LARGE = "x" * 100_000


@pytest.fixture
async def connections(redis_url: str) -> AsyncIterator[Connections]:
    async with contextlib.aclosing(Connections(redis_url)) as opened:
        await opened.ask("PING")
        yield opened


@contextlib.contextmanager
def counting_tasks() -> Iterator[list[str]]:
    """The names of the coroutines that become tasks within the block."""
    loop, started = asyncio.get_running_loop(), list[str]()

    def start(
        loop: asyncio.AbstractEventLoop, coro: Coroutine[Any, Any, T], **options: Any
    ) -> asyncio.Task[T]:
        started.append(getattr(coro, "__qualname__", ""))
        return asyncio.Task(coro, loop=loop, **options)

    loop.set_task_factory(start)  # type: ignore[arg-type]  # a factory of typeshed takes generators
    try:
        yield started
    finally:
        loop.set_task_factory(None)


async def test_a_small_command_is_sent_before_any_other_call_has_a_turn_of_the_loop(
    connections: Connections,
) -> None:
    with counting_tasks() as started:
        assert await connections.ask("ECHO", "a") == b"a"
        assert await connections.ask_all([("ECHO", "b"), ("ECHO", "c")]) == [b"b", b"c"]
    assert SENDING not in started


async def test_large_commands_and_small_ones_behind_them_arrive_whole(
    connections: Connections,
) -> None:
    replies = await asyncio.gather(
        *(connections.ask("ECHO", each) for each in (LARGE, "a", LARGE, "b"))
    )
    assert replies == [LARGE.encode(), b"a", LARGE.encode(), b"b"]
