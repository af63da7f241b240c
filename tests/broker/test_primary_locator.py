"""The task that follows the primary ends when it is cancelled, whatever redis-py does."""

import asyncio
import contextlib

import pytest
from redis.asyncio.sentinel import Sentinel
from redis.exceptions import ConnectionError as ConnectionLost

from tickertape.broker import sentinel
from tickertape.broker.sentinel import PrimaryLocator
from tickertape.runtime.sentinel_address import parse_sentinel_url

_URL = "redis+sentinel://127.0.0.1:1/main"


class SwallowingSentinels:
    """Names a primary once, and then swallows one cancellation, as redis-py may."""

    def __init__(self) -> None:
        self.asked = 0
        self.is_connecting = asyncio.Event()

    async def discover_master(self, name: str) -> tuple[str, int]:
        del name
        self.asked += 1
        if self.asked == 1:
            return "127.0.0.1", 6379
        self.is_connecting.set()
        with (
            contextlib.suppress(asyncio.CancelledError)
            if self.asked == 2
            else contextlib.nullcontext()
        ):
            await asyncio.Event().wait()
        raise ConnectionLost


async def test_a_cancellation_that_redis_py_swallows_ends_the_task_that_follows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Otherwise a process that stops while the Sentinels are away would never end."""
    sentinels = SwallowingSentinels()
    monkeypatch.setattr(Sentinel, "discover_master", sentinels.discover_master)
    monkeypatch.setattr(sentinel, "_ASK_EVERY_S", 0)
    locator = PrimaryLocator(parse_sentinel_url(_URL), on_moved=lambda: None)
    await locator.locate()
    await sentinels.is_connecting.wait()
    async with asyncio.timeout(5):
        await locator.aclose()
    assert sentinels.asked == 2
