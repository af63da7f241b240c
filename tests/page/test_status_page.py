"""The status page in a real browser: the verdict, the charts, and a lost server."""

from pathlib import Path

import pytest

from tests.page.looking import shows
from tests.page.test_shell import findings
from tests.support.browser import Browser
from tests.support.given_settings import GivenSettings
from tests.support.node import installed
from tests.support.rig import working
from tests.support.running_api import running_api
from tests.support.upstream import ScriptedUpstream
from tickertape.api.services import ApiTiming
from tickertape.worker.assembly import WorkerTiming

pytestmark = pytest.mark.slow

HEADLINE = "document.getElementById('headline').textContent"
STATE = "document.getElementById('verdict').dataset.state"
WIDTH = "document.documentElement.scrollWidth <= innerWidth"
CHARTS = "document.querySelectorAll('#charts svg polyline[points]').length"


async def test_the_page_shows_no_worker_then_a_worker_then_a_lost_server(
    browser: Browser, redis_url: str, upstream: ScriptedUpstream
) -> None:
    settings = GivenSettings(openai_base_url=upstream.base_url, openai_model="m")
    async with running_api(redis_url, timing=ApiTiming(fleet_interval_s=0.1)) as api:
        page = await browser.open(f"{api.url}/status")
        await shows(page, STATE, "problems")
        assert "No worker has ever asked for work" in await page.evaluate(HEADLINE)
        async with working(redis_url, settings, timing=WorkerTiming(report_interval_s=0.1)):
            await shows(page, HEADLINE, "All is well")
            await shows(page, "document.querySelectorAll('#workers tr').length", 1)
        assert await page.evaluate(CHARTS) == 4
        await page.command(
            "Emulation.setDeviceMetricsOverride",
            width=320, height=640, deviceScaleFactor=1, mobile=False,
        )  # fmt: skip
        await page.wait_for(WIDTH, description="a page that fits 320 px")
    await shows(page, HEADLINE, "The server does not answer")


async def test_axe_finds_nothing_on_the_status_page_in_any_colours_or_width(
    browser: Browser, redis_url: str, upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    axe = (installed(tmp_path, "axe") / "node_modules/axe-core/axe.min.js").read_text()
    settings = GivenSettings(openai_base_url=upstream.base_url, openai_model="m")
    timing = WorkerTiming(report_interval_s=0.1)
    async with (
        running_api(redis_url, timing=ApiTiming(fleet_interval_s=0.1)) as api,
        working(redis_url, settings, timing=timing),
    ):
        for dark, width in ((False, 1280), (True, 320)):
            page = await browser.open(f"{api.url}/status", dark=dark, width=width)
            await shows(page, HEADLINE, "All is well")
            await page.evaluate(axe)
            assert await findings(page) == []
            assert await page.evaluate(WIDTH)
        page = browser.pages[-1]
        forced = {"name": "forced-colors", "value": "active"}
        await page.command("Emulation.setEmulatedMedia", features=[forced])
        paper = await page.evaluate("getComputedStyle(document.body).backgroundColor")
        line = "getComputedStyle(document.querySelector('#charts polyline')).stroke"
        assert await page.evaluate(line) != paper
        assert await findings(page) == []
