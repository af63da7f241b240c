"""`tickertape status` over a real API: words for people, JSON for programs, and the exit code."""

import asyncio
import json

import pytest

from tests.support.given_settings import GivenSettings
from tests.support.rig import working
from tests.support.running_api import running_api
from tests.support.upstream import ScriptedUpstream
from tests.support.wait import wait_until
from tickertape.api.services import ApiTiming
from tickertape.cli.chat.client_settings import Server
from tickertape.cli.exits import CommandFailed, Exit
from tickertape.cli.inspect import status
from tickertape.worker.assembly import WorkerTiming

FAST = ApiTiming(fleet_interval_s=0.05)


async def show(url: str, *, is_json: bool = False) -> int:
    return await asyncio.to_thread(status.run, Server(url), is_watching=False, is_json=is_json)


async def test_the_status_is_a_table_with_the_verdict_first(
    redis_url: str, upstream: ScriptedUpstream, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = GivenSettings(openai_base_url=upstream.base_url, openai_model="m")
    timing = WorkerTiming(report_interval_s=0.05)
    async with running_api(redis_url, timing=FAST) as api:
        capsys.readouterr()
        assert await show(api.url) == Exit.FAILED
        lines = capsys.readouterr().out.splitlines()
        assert lines[0].startswith("PROBLEM  No worker has ever asked for work.")
        async with working(redis_url, settings, slots=3, timing=timing):

            async def is_well() -> bool:
                return await show(api.url) == Exit.OK

            await wait_until(is_well, timeout_s=10, description="a worker in the status")
    assert "All is well." in capsys.readouterr().out


async def test_programs_get_json(redis_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    async with running_api(redis_url) as api:
        capsys.readouterr()
        assert await show(api.url, is_json=True) == Exit.FAILED
        shown = json.loads(capsys.readouterr().out)
    assert [problem["code"] for problem in shown["problems"]] == ["no_worker"]


async def test_an_api_that_is_away_is_a_failure_with_its_address() -> None:
    with pytest.raises(CommandFailed, match=r"http://127\.0\.0\.1:1 does not answer"):
        await show("http://127.0.0.1:1")
