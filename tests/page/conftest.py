"""A browser, and something for it to talk to."""

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.page.scripted_api import ScriptedApi
from tests.support.browser import Browser, connect, find_chromium, running_chromium


@pytest.fixture(scope="session")
def chromium() -> Iterator[str]:
    """The address of one Chromium for all tests; each page in it has a profile of its own."""
    executable = find_chromium()
    if executable is None:
        pytest.skip("Chromium is not installed")  # the page cannot be tried without a browser
    with running_chromium(executable) as address:
        yield address


@pytest.fixture
async def browser(chromium: str) -> AsyncIterator[Browser]:
    async with connect(chromium) as running:
        yield running


@pytest.fixture
def server() -> ScriptedApi:
    return ScriptedApi()


@pytest.fixture
async def base_url(server: ScriptedApi) -> AsyncIterator[str]:
    async with server.running() as url:
        yield url
