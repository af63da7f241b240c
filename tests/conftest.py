"""Fixtures for all tests. Those of one package belong into the conftest.py of its folder.

To extend: start what is needed with tests/support, at port 0, and give it the narrowest scope that
is quick enough. `redis_url` is empty at the start of each test and shared by the tests of one
process (with xdist, each worker has a server): never stop that server, take `own_redis` for that.
Every test ends with no asyncio task left; a fixture that starts tasks must await their end.
"""

import asyncio
import gc
import inspect
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import redis
from redis.driver_info import DriverInfo

from tests.support.browser import Browser, connect, find_chromium, running_chromium
from tests.support.deployment import Deployment, MakeDeployment
from tests.support.firefox import find_firefox, running_firefox
from tests.support.rig import Rig, open_rig
from tests.support.running_api import RunningApi, running_api
from tests.support.servers import ValkeyServer, lossless_server, valkey_server
from tests.support.upstream import ScriptedUpstream
from tickertape.runtime.settings import Settings

# redis-py would look up its version in the files of its package for each test.
_DRIVER = DriverInfo()


def pytest_configure() -> None:
    """Take Ctrl+C as a terminal's programs do, and let children take the end of a terminal.

    A shell that starts us in the background has us ignore the one, and `nohup` the other. Every
    child would ignore them too. Children do not inherit a handler, so this process still survives
    the end of its terminal.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda *_: None)
    # Little of what a collection of tests makes is garbage, and looking takes a fifth of its time.
    gc.disable()


def pytest_collection_finish() -> None:
    """Collect garbage again."""
    gc.enable()


@pytest.fixture(autouse=True)
def everything_is_closed(request: pytest.FixtureRequest) -> Iterator[None]:
    """Collect garbage behind each slow test, so that an open socket is reported by its own test.

    Autouse and the first, so this comes last. It would take a third of the time of a quick test.
    What is left belongs to the tests that come, and no later collection looks at it.
    """
    yield
    if request.node.get_closest_marker("slow"):
        gc.collect()
        gc.freeze()


@pytest.fixture(autouse=True)
def nothing_stays_frozen() -> Iterator[None]:
    """A process that serves exempts its objects from garbage collection; this one lives longer."""
    thresholds = gc.get_threshold()
    yield
    if gc.get_threshold() != thresholds:
        gc.unfreeze()
        gc.set_threshold(*thresholds)


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
    with redis.Redis.from_url(redis_server.url, driver_info=_DRIVER) as client:
        client.flushall()
    return redis_server.url


@pytest.fixture
def own_redis() -> Iterator[ValkeyServer]:
    """A server of this test's own, with an append-only file, to kill, pause and restart."""
    with lossless_server() as server:
        yield server


@pytest.fixture
async def upstream() -> AsyncIterator[ScriptedUpstream]:
    """A scripted upstream that answers "Hello, world." until it is given a script."""
    async with ScriptedUpstream() as running:
        yield running


@pytest.fixture
async def api(redis_url: str) -> AsyncIterator[RunningApi]:
    """The app with default settings. A test with other settings calls `running_api`."""
    async with running_api(redis_url, heartbeat_s=0.2) as running:
        yield running


@pytest.fixture
async def worker(redis_url: str) -> AsyncIterator[Rig]:
    """The worker of `api`, driven by the test step by step."""
    async with open_rig(redis_url, Settings(openai_model="a-model")) as running:
        yield running


@pytest.fixture
def make_deployment(
    tmp_path: Path, own_redis: ValkeyServer, upstream: ScriptedUpstream
) -> Iterator[MakeDeployment]:
    """Makes a deployment with these settings, in which no program runs yet."""
    made: list[Deployment] = []

    def make(**settings: str) -> Deployment:
        deployment = Deployment(
            tmp_path, redis_url=own_redis.url, upstream_url=upstream.base_url, **settings
        )
        made.append(deployment)
        return deployment

    yield make
    for deployment in made:
        deployment.close()


@pytest.fixture
def deployment(make_deployment: MakeDeployment) -> Deployment:
    """A deployment with a lease of one second."""
    return make_deployment(TICKERTAPE_LEASE_S="1")


@pytest.fixture(scope="session")
def chromium() -> Iterator[str]:
    """The address of one Chromium for all tests; each page in it has a separate profile."""
    executable = find_chromium()
    if executable is None:
        pytest.skip("Chromium is not installed")  # the page cannot be tried without a browser
    with running_chromium(executable) as address:
        yield address


@pytest.fixture(scope="session")
def firefox() -> Iterator[str]:
    """The address of one Firefox for all tests; each page in it has separate storage."""
    executable = find_firefox()
    if executable is None:
        pytest.skip("Firefox is not installed")  # its tests need it
    with running_firefox(executable) as address:
        yield address


@pytest.fixture
async def browser(chromium: str) -> AsyncIterator[Browser]:
    """Fails the test if a page threw an exception or violated its content security policy."""
    async with connect(chromium) as running:
        yield running
        assert [problem for page in running.pages for problem in page.problems] == []
