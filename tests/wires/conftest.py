"""The official OpenAI SDK as a client of `api`."""

import contextlib
from collections.abc import AsyncIterator, Mapping

import httpx2
import pytest
from openai import AsyncOpenAI

from tests.support.running_api import RunningApi
from tests.support.upstream import ScriptedUpstream
from tests.wires.relaying import Relay


@contextlib.asynccontextmanager
async def openai_client(
    url: str, *, max_retries: int = 0, headers: Mapping[str, str] | None = None
) -> AsyncIterator[AsyncOpenAI]:
    """The official SDK, with only its address and key changed."""
    # There is no TLS here. Loading all certificate authorities would take half of a test's time.
    async with (
        httpx2.AsyncClient(verify=False) as http,
        AsyncOpenAI(
            base_url=f"{url}/v1",
            api_key="the-key-of-the-sdk",
            http_client=http,
            max_retries=max_retries,
            default_headers=headers,
        ) as client,
    ):
        yield client


@pytest.fixture
async def sdk(api: RunningApi) -> AsyncIterator[AsyncOpenAI]:
    async with openai_client(api.url) as client:
        yield client


@pytest.fixture
def relay(sdk: AsyncOpenAI, upstream: ScriptedUpstream, redis_url: str) -> Relay:
    return Relay(sdk, upstream, redis_url)
