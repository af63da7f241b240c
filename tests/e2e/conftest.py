"""What end-to-end tests run against: our processes, a real Redis, a scripted upstream."""

import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.deployment import Caller, Deployment, api_url
from tests.e2e.programs import Program
from tests.support.browser import Browser, connect, find_chromium, running_chromium
from tests.support.servers import ValkeyServer, valkey_server
from tests.support.upstream import ScriptedUpstream
from tests.support.wait import wait_until_sync

TENANTS = ("ada", "bob", "eve")
TENANT_LIMIT = 10
Figure = Callable[[str, object], None]
MakeDeployment = Callable[..., Deployment]


@pytest.fixture
def figure(record_property: Callable[[str, object], None]) -> Figure:
    """Record a measured value, which the report prints at its end."""
    return record_property


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the figures."""
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            terminalreporter.write_line(f"{report.nodeid.rpartition('::')[2]}: {name} = {value}")


@pytest.fixture
def make_deployment(
    tmp_path: Path, own_redis: ValkeyServer, upstream: ScriptedUpstream
) -> Iterator[MakeDeployment]:
    """A deployment with these settings; nothing of it is started yet."""
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
    """One with a lease of a second."""
    return make_deployment(TICKERTAPE_LEASE_S="1")


@pytest.fixture(scope="session")
def upstream_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of an upstream in a process of its own, to which prompts say what to answer."""
    argv = [sys.executable, "-m", "tests.support.upstream"]
    program = Program("upstream", argv, tmp_path_factory.mktemp("upstream"), {})
    try:
        yield wait_until_sync(program.lines, description="the upstream to say where it is")[0]
    finally:
        program.stop()


@pytest.fixture(scope="session")
def shared_api(tmp_path_factory: pytest.TempPathFactory, upstream_process: str) -> Iterator[str]:
    """The URL of one API process with one worker, for tests that leave both as they were."""
    with valkey_server() as redis:
        running = Deployment(
            tmp_path_factory.mktemp("shared"),
            redis_url=redis.url,
            upstream_url=upstream_process,
            TICKERTAPE_API_KEYS=",".join(f"{tenant}:key-of-{tenant}" for tenant in TENANTS),
            TICKERTAPE_TENANT_LIMIT=str(TENANT_LIMIT),
        )
        try:
            api, worker = running.start_api(), running.start_worker()
            api.logged_sync("ready for requests")
            worker.logged_sync("working")
            yield api_url(api)
        finally:
            running.close()


@pytest.fixture
async def ada(shared_api: str) -> AsyncIterator[Caller]:
    async with Caller(shared_api, "key-of-ada") as caller:
        yield caller


@pytest.fixture
async def bob(shared_api: str) -> AsyncIterator[Caller]:
    async with Caller(shared_api, "key-of-bob") as caller:
        yield caller


@pytest.fixture
async def eve(shared_api: str) -> AsyncIterator[Caller]:
    async with Caller(shared_api, "key-of-eve") as caller:
        yield caller


@pytest.fixture(scope="session")
def chromium() -> Iterator[str]:
    """The address of one Chromium for all tests."""
    executable = find_chromium()
    if executable is None:
        pytest.skip("Chromium is not installed")  # the page cannot be tried without a browser
    with running_chromium(executable) as address:
        yield address


@pytest.fixture
async def browser(chromium: str) -> AsyncIterator[Browser]:
    """Fails what ran in it when a page threw an exception or wanted what its policy forbids."""
    async with connect(chromium) as running:
        yield running
        assert [problem for page in running.pages for problem in page.problems] == []
