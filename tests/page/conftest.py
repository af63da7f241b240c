"""A browser, and all of Tickertape for it to talk to."""

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.page.site import Site, running_site
from tests.support.browser import Browser, connect, find_chromium, running_chromium
from tests.support.upstream import ScriptedUpstream


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
    """Fails what ran in it when a page threw an exception or wanted what its policy forbids."""
    async with connect(chromium) as running:
        yield running
        assert [problem for page in running.pages for problem in page.problems] == []


@pytest.fixture
async def site(redis_url: str, upstream: ScriptedUpstream) -> AsyncIterator[Site]:
    async with running_site(redis_url, upstream) as running:
        yield running
