"""Processes that are killed disappear from the status without help."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.faults.processes import started
from tests.support.rig import open_rig
from tests.support.upstream import ScriptedUpstream
from tests.support.wait import wait_until
from tickertape.broker.fleet import Fleet, Seen
from tickertape.runtime.settings import Settings

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("fork server")]


async def test_a_killed_worker_disappears_from_the_status(
    redis_url: str, upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    settings = Settings(redis_url=redis_url, openai_base_url=upstream.base_url)
    async with open_rig(redis_url) as rig:
        fleet = Fleet(rig.connections)

        async def workers() -> Sequence[Seen]:
            return (await fleet.members()).workers

        async def is_gone() -> bool:
            return not await workers()

        async with started("worker", [], settings, tmp_path) as worker:
            await wait_until(workers, timeout_s=20, description="the worker's report")
            await worker.kill()
            assert await workers()
            await wait_until(is_gone, timeout_s=15, description="the report to expire")
