"""`up` says that it is ready, and later whether its upstream still answers."""

import asyncio
import contextlib
import time
from pathlib import Path

import pytest

from tests.support.given_settings import GivenSettings
from tests.support.running_api import running_api
from tests.support.wait import wait_until
from tickertape.cli.up.announcement import Announcement
from tickertape.cli.up.child import ChildProcess
from tickertape.cli.up.upstream_state import LISTED, NOT_LISTED


async def test_the_upstream_is_watched_before_and_after_the_start_is_ready(
    redis_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    printed = ""

    async def prints(text: str) -> None:
        def does() -> bool:
            nonlocal printed
            printed += capsys.readouterr().out
            return text in printed

        await wait_until(does, description=f"{text!r} is printed")

    away = {"event": NOT_LISTED, "code": "upstream_unreachable"}
    worker = ChildProcess("worker-1", ["true"], tmp_path / "worker-1.log")
    settings = GivenSettings(openai_base_url="http://ai.example/v1", openai_model="m")
    async with running_api(redis_url) as api:
        announcement = Announcement(
            api.url, [worker], settings, is_local=False, started_s=time.monotonic()
        )
        task = asyncio.create_task(announcement.run())
        worker.upstream_record = away
        await prints("Not ready: The upstream at http://ai.example/v1 cannot be reached.")
        worker.upstream_record = {"event": LISTED, "models": ["m"], "lists_default": True}
        worker.is_ready = True
        await prints("Ready after")
        worker.upstream_record = away
        await prints("No answers: The upstream at http://ai.example/v1 cannot be reached.")
        worker.upstream_record = {"event": LISTED, "models": ["m"], "lists_default": True}
        await prints("The upstream answers again.")
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
