"""`tickertape up`: two browsers on one link, and what happens when one of its processes dies."""

import os
import signal
from collections.abc import Iterator

import pytest

from tests.e2e.commands import running
from tests.page.looking import ANSWERS, NOTES, QUESTIONS, ask, click, shows
from tests.support.browser import Browser, Page
from tests.support.callers import Caller
from tests.support.followers import following
from tests.support.prompted import Plan
from tests.support.up import Up
from tests.support.wait import wait_until

pytestmark = pytest.mark.slow

ENDLESS = Plan(deltas=100_000, rate_per_s=20)
_COUNT_SIZES = """
    window.sizes = new Set()
    new MutationObserver(() => sizes.add([...document.querySelectorAll('.answer > .text')]
        .map((element) => element.textContent.length).join()))
      .observe(document.body, {subtree: true, childList: true, characterData: true})
"""


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory, upstream_process: str) -> Iterator[Up]:
    everything = Up(
        tmp_path_factory.mktemp("up"), OPENAI_BASE_URL=upstream_process, TICKERTAPE_LEASE_S="1"
    )
    try:
        everything.wait_until_printed("Ready after ")
        yield everything
    finally:
        code = everything.stop()
    assert code == 0


async def _seen_being_typed(page: Page) -> int:
    """In how many sizes the answers were shown since `_COUNT_SIZES`."""
    return int(await page.evaluate("sizes.size"))


async def test_a_question_asked_in_either_of_two_browsers_is_answered_in_both(
    browser: Browser, up: Up
) -> None:
    plans = [Plan(deltas=40, rate_per_s=10, tag=tag) for tag in ("one", "two")]
    first = await browser.open(up.url)
    second = await browser.open(await first.evaluate("location.href"))
    for page in (first, second):
        await page.evaluate(_COUNT_SIZES)
    await ask(first, plans[0].prompt())
    for page in (first, second):
        await shows(page, ANSWERS, [plans[0].text()])
    await ask(second, plans[1].prompt())
    for page in (first, second):
        await shows(page, ANSWERS, [plan.text() for plan in plans])
        await shows(page, QUESTIONS, [plan.prompt() for plan in plans])
        assert await _seen_being_typed(page) > 20


async def test_a_page_reloaded_in_mid_answer_goes_on_where_it_was(browser: Browser, up: Up) -> None:
    plan = Plan(deltas=300, rate_per_s=40, tag="reload")
    page = await browser.open(up.url)
    await ask(page, plan.prompt())
    await page.wait_for(f"{ANSWERS}[0]?.length > 100")
    await page.reload()
    await page.wait_for(f"{ANSWERS}[0]?.length > 100")
    assert await page.evaluate(f"{ANSWERS}[0]") != plan.text(), "it was over before the reload was"
    await shows(page, ANSWERS, [plan.text()])


async def test_stop_in_one_browser_stops_both_and_keeps_the_text(browser: Browser, up: Up) -> None:
    first = await browser.open(up.url)
    second = await browser.open(await first.evaluate("location.href"))
    await ask(first, ENDLESS.prompt())
    await second.wait_for(f"{ANSWERS}[0]?.length > 100")
    await click(second, "#stop")
    for page in (first, second):
        await shows(page, NOTES, ["Stopped."])
    kept = await first.evaluate(f"{ANSWERS}[0]")
    assert len(kept) > 100
    assert ENDLESS.text().startswith(kept)
    assert await second.evaluate(f"{ANSWERS}[0]") == kept


async def has_streams(caller: Caller, number: int) -> None:
    async def has() -> bool:
        return (
            f"\ntickertape_subscribers {number}.0\n" in (await caller.client.get("/metrics")).text
        )

    await wait_until(has, description=f"{number} open streams")


@pytest.mark.parametrize(
    "words", ["tickertape.cli.main worker", "tickertape.cli.main api", "valkey-server"]
)
async def test_what_dies_in_mid_answer_is_started_again_and_the_answer_is_whole(
    up: Up, words: str
) -> None:
    plan = Plan(deltas=400, rate_per_s=50, tag=words.replace(" ", "-"))
    async with Caller(up.url) as caller:
        await has_streams(caller, 0)  # those of the other tests are closed
        request_id = await caller.submit(plan.prompt())
        # Held back until it is whole, since an answer that begins again cannot be unwritten.
        async with running(up.url, "watch", "--buffer", request_id) as watch:
            async with following(caller.stream_url(request_id)) as reader:
                # An API to which no connection could be opened yet is given up after 3 s.
                await has_streams(caller, 2)
                await reader.starts_with(plan.text()[:200])
            pid = up.pid_of(words)
            os.kill(pid, signal.SIGKILL)
            watched, _ = await watch.communicate()
        assert watch.returncode == 0
        assert watched.decode() == plan.text()
        assert (await caller.read(request_id))["text"] == plan.text()
    assert up.pid_of(words) != pid
