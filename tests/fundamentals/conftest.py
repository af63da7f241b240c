"""One small system for every test here: an API, a worker, a Redis server and a scripted upstream.

`system.upstream.script` decides what the upstream answers; everything else is the product. Read the
tests in the order of their numbers. Each one shows one concept.
"""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from tests.support.rig import working
from tests.support.running_api import RunningApi, running_api
from tests.support.sse import Event, collect
from tests.support.upstream import ScriptedUpstream
from tickertape.runtime.settings import Settings


@dataclass
class System:
    """`api` is called over HTTP, as a client does it."""

    api: RunningApi
    upstream: ScriptedUpstream
    redis_url: str

    async def events(self, request_id: str, after: str = "") -> list[Event]:
        """All events of a request, to its end."""
        query = f"?after={after}" if after else ""
        return await collect(f"{self.api.url}/chat/{request_id}/stream{query}")

    def worker(self, *, lease_s: float = 5) -> contextlib.AbstractAsyncContextManager[None]:
        """A worker for the length of the block; at its end it stops as a killed process does."""
        settings = Settings.model_validate(
            {
                "redis_url": self.redis_url,
                "openai_base_url": self.upstream.base_url,
                "openai_api_key": "key",
                "openai_model": "scripted-model",
                "lease_s": lease_s,
            }
        )
        return working(self.redis_url, settings)


@pytest.fixture
async def system_without_worker(
    redis_url: str, upstream: ScriptedUpstream
) -> AsyncIterator[System]:
    async with running_api(redis_url) as api:
        yield System(api, upstream, redis_url)


@pytest.fixture
async def system(system_without_worker: System) -> AsyncIterator[System]:
    async with system_without_worker.worker():
        yield system_without_worker
