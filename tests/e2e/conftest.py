"""What end-to-end tests run against: our processes, a real Redis, a scripted upstream."""

import sys
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from tests.support.callers import Caller
from tests.support.deployment import Deployment, api_url
from tests.support.programs import Program, environment
from tests.support.servers import valkey_server
from tests.support.wait import wait_until_sync

TENANTS = ("ada", "bob", "eve")
TENANT_LIMIT = 10
Figure = Callable[[str, object], None]


@pytest.fixture
def figure(record_property: Callable[[str, object], None]) -> Figure:
    """Record a measured value, which the report prints at its end."""
    return record_property


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the figures."""
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            terminalreporter.write_line(f"{report.nodeid.rpartition('::')[2]}: {name} = {value}")


@pytest.fixture(scope="session")
def upstream_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of an upstream in a separate process; each prompt states the answer."""
    argv = [sys.executable, "-m", "tests.support.upstream"]
    program = Program("upstream", argv, tmp_path_factory.mktemp("upstream"), environment())
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
            TICKERTAPE_API_KEYS=",".join(f"{tenant}:the-api-key-of-{tenant}" for tenant in TENANTS),
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
    async with Caller(shared_api, "the-api-key-of-ada") as caller:
        yield caller


@pytest.fixture
async def bob(shared_api: str) -> AsyncIterator[Caller]:
    async with Caller(shared_api, "the-api-key-of-bob") as caller:
        yield caller


@pytest.fixture
async def eve(shared_api: str) -> AsyncIterator[Caller]:
    async with Caller(shared_api, "the-api-key-of-eve") as caller:
        yield caller
