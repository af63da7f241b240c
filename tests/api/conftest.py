"""The app with default settings, over the shared Redis, and a typist who plays its worker.

To extend: a test that needs other settings starts its own with `running_api`.
"""

from collections.abc import AsyncIterator

import pytest

from tests.api.running import RunningApi, running_api
from tests.support.typist import Typist, typing
from tickertape.runtime.settings import Settings


@pytest.fixture
async def api(redis_url: str) -> AsyncIterator[RunningApi]:
    async with running_api(redis_url, heartbeat_s=0.2) as running:
        yield running


@pytest.fixture
async def worker(redis_url: str) -> AsyncIterator[Typist]:
    async with typing(redis_url, Settings(openai_model="a-model")) as running:
        yield running
