"""A system with webhooks: a broker, a file of receivers, and `tickertape deliver` beside it."""

import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from tests.support.given_settings import GivenSettings
from tests.support.receiver import Receiver, receiving, write_receivers
from tests.support.rig import Rig, open_rig
from tests.support.tasks import running
from tickertape.deliver.main import run
from tickertape.deliver.process import DeliverTiming
from tickertape.deliver.webhooks import WebhookTiming
from tickertape.runtime.settings import Settings

TIMING = DeliverTiming(poll_s=0.02, drain_s=1, start_pause_s=0.02)
QUICK = WebhookTiming(pauses_s=(0.02,) * 20, busy_s=0.05)

Delivering = Callable[..., contextlib.AbstractAsyncContextManager[object]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "webhooks.toml"


@pytest.fixture
def settings(redis_url: str, path: Path) -> Settings:
    return GivenSettings(redis_url=redis_url, openai_model="m", webhooks=path)


@pytest.fixture
async def rig(redis_url: str, settings: Settings) -> AsyncIterator[Rig]:
    async with open_rig(redis_url, settings) as rig:
        yield rig


@pytest.fixture
async def receiver(path: Path) -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        write_receivers(path, one=receiver.url)
        yield receiver


@pytest.fixture
def delivering(settings: Settings, redis_url: str) -> Delivering:
    """Runs `tickertape deliver` for the length of a block, at whose end it stops as if killed."""

    def start(
        webhooks: WebhookTiming = QUICK, *, patience_s: float = 2.0, lease_s: float = 0.3
    ) -> contextlib.AbstractAsyncContextManager[object]:
        return running(
            run(
                settings,
                redis_url,
                timing=TIMING,
                webhook_timing=webhooks,
                patience_s=patience_s,
                lease_s=lease_s,
            )
        )

    return start
