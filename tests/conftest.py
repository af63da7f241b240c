"""Fixtures for all tests. Those of one package belong into the conftest.py of its folder.

To extend: start what is needed with tests/support, at port 0, and give it the narrowest scope that
is quick enough. `redis_url` is empty at the start of each test and shared by the tests of one
process (with xdist, each worker has a server): never stop that server, take `own_redis` for that.
Every test ends with no asyncio task left; a fixture that starts tasks must await their end.
"""

import asyncio
import inspect
import signal
from collections.abc import AsyncIterator, Iterator

import pytest
import redis

from tests.support.servers import ValkeyServer, in_memory, valkey_server
from tests.support.upstream import ScriptedUpstream


def pytest_configure() -> None:
    """Take Ctrl+C as a terminal's programs do.

    A shell that starts us in the background has us ignore it, and so would every child.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def no_tasks_left(request: pytest.FixtureRequest) -> None:
    """Autouse, and so set up first and checked last. Tests without a loop pay nothing."""
    if inspect.iscoroutinefunction(getattr(request, "function", None)):
        request.getfixturevalue("_no_tasks_left_in_loop")


@pytest.fixture
async def _no_tasks_left_in_loop() -> AsyncIterator[None]:
    before = asyncio.all_tasks()
    yield
    # A cancelled task needs a turn of the loop to end, and one that awaits it another.
    for _ in range(3):
        await asyncio.sleep(0)
    left = asyncio.all_tasks() - before - {asyncio.current_task()}
    assert not left, "tasks left: " + ", ".join(sorted(map(_describe, left)))


def _describe(task: asyncio.Task[object]) -> str:
    coroutine = task.get_coro()
    return f"{task.get_name()} ({getattr(coroutine, '__qualname__', coroutine)})"


@pytest.fixture(scope="session")
def redis_server() -> Iterator[ValkeyServer]:
    """One real server for all tests of this process, without persistence. Leave it running."""
    with valkey_server() as server:
        yield server


@pytest.fixture
def redis_url(redis_server: ValkeyServer) -> str:
    """URL of a real and empty server."""
    with redis.Redis.from_url(redis_server.url) as client:
        client.flushall()
    return redis_server.url


@pytest.fixture
def own_redis() -> Iterator[ValkeyServer]:
    """A server of this test's own, with an append-only file, to kill, pause and restart."""
    with valkey_server(append_only=True, parent=in_memory()) as server:
        yield server


@pytest.fixture
async def upstream() -> AsyncIterator[ScriptedUpstream]:
    """A scripted upstream that answers "Hello, world." until it is given a script."""
    async with ScriptedUpstream() as running:
        yield running
