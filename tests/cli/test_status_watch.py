"""`tickertape status --watch` in a terminal, as the person who watches it sees it."""

from pathlib import Path

import pytest

from tests.support.given_settings import GivenSettings
from tests.support.programs import command, environment
from tests.support.rig import working
from tests.support.running_api import running_api
from tests.support.tmux import Tmux
from tests.support.upstream import ScriptedUpstream
from tickertape.api.services import ApiTiming
from tickertape.worker.assembly import WorkerTiming

pytestmark = pytest.mark.slow

FAST = ApiTiming(fleet_interval_s=0.05)


async def test_the_watched_status_changes_in_place_and_outlives_the_server(
    redis_url: str, upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    settings = GivenSettings(openai_base_url=upstream.base_url, openai_model="m")
    timing = WorkerTiming(report_interval_s=0.05)
    tmux = Tmux(tmp_path)
    try:
        async with running_api(redis_url, timing=FAST) as api:
            variables = environment(TICKERTAPE_URL=api.url)
            await tmux.start(command("status", "--watch"), variables)
            await tmux.shows("PROBLEM  No worker has ever asked for work.")
            async with working(redis_url, settings, timing=timing):
                screen = await tmux.shows("All is well.")
                assert screen.startswith("All is well.")
                assert "PROBLEM" not in screen
        screen = await tmux.shows(f"{api.url} does not answer")
        assert "All is well." not in screen
        await tmux.press("C-c")
        assert await tmux.exit_code() == 1
        assert "Traceback" not in await tmux.screen()
    finally:
        await tmux.stop()
