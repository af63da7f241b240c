"""A browser, and all of Tickertape for it to talk to."""

from collections.abc import AsyncIterator

import pytest

from tests.page.site import Site, running_site
from tests.support.upstream import ScriptedUpstream


@pytest.fixture
async def site(redis_url: str, upstream: ScriptedUpstream) -> AsyncIterator[Site]:
    async with running_site(redis_url, upstream) as running:
        yield running
