"""What a worker leaves behind when it stops."""

import asyncio
import os
import signal

import pytest
from redis import Redis

from tests.support.given_settings import GivenSettings
from tests.support.rig import working
from tests.support.wait import wait_until
from tickertape.runtime.conditions import Looks

SETTINGS = GivenSettings(openai_base_url="http://127.0.0.1:9/v1", openai_model="m")


async def test_a_worker_that_is_cancelled_while_it_ends_closes_its_connections(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_ending = asyncio.Event()

    async def slow_to_end(looks: Looks, interval_s: float) -> None:
        del looks, interval_s
        try:
            await asyncio.Event().wait()
        finally:
            is_ending.set()
            await asyncio.Event().wait()

    monkeypatch.setattr(Looks, "run", slow_to_end)
    with Redis.from_url(redis_url) as server:
        before = {each["id"] for each in server.client_list()}

        def opened() -> set[str]:
            return {each["id"] for each in server.client_list()} - before

        async with working(redis_url, SETTINGS):
            await wait_until(opened, description="the worker's connections")
            await wait_until(lambda: server.keys("*fleet*"), description="the worker's report")
            os.kill(os.getpid(), signal.SIGTERM)
            await is_ending.wait()
        await wait_until(lambda: not opened(), description="its connections are closed")
