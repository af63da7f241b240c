"""The agents of examples/ in real clients: their worker is killed, and an answer is stopped."""

import asyncio
from pathlib import Path
from urllib.parse import urlencode

import pytest

from tests.examples.conftest import serving_files
from tests.examples.shop import BEGIN, HALF, LANGGRAPH, PYDANTIC, REFUND, STORY, WHOLE, Shop
from tests.page.looking import ANSWERS, NOTES, ask, click, shows
from tests.support.browser import Browser, Page, connect
from tests.support.firefox import connect_firefox
from tests.support.node import installed
from tests.wires.test_agui_packages import shown

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

FORM = "document.querySelector('form')"
SAID = "[...document.querySelectorAll('p')].map((p) => p.textContent)"


async def test_two_browsers_see_one_answer_of_an_agent_whose_worker_is_killed_and_stop_another(
    shop: Shop, chromium: str, firefox: str
) -> None:
    async with connect(chromium) as one, connect_firefox(firefox) as two:
        first = await one.open(f"{shop.api.url}/")
        await ask(first, REFUND)
        second = await two.open(await first.evaluate("location.href"))
        for page in (first, second):
            await shows(page, ANSWERS, [HALF])
        await shop.lose_worker()
        for page in (first, second):
            await shows(page, ANSWERS, [WHOLE])
        shop.refunded_once()
        await ask(second, STORY)
        for page in (first, second):
            await shows(page, ANSWERS, [WHOLE, BEGIN])
        await click(first, "#stop")
        for page in (first, second):
            await shows(page, f"({NOTES}).at(-1)", "Stopped.")
            await shows(page, ANSWERS, [WHOLE, BEGIN])
        await shop.stopped()
        assert [*first.problems, *second.problems] == []


@pytest.mark.long
@pytest.mark.parametrize(
    "shop", [PYDANTIC, LANGGRAPH], ids=["pydantic", "langgraph"], indirect=True
)
async def test_tanstack_shows_one_answer_of_an_agent_whose_worker_is_killed_and_stops_another(
    shop: Shop, tmp_path: Path
) -> None:
    folder = installed(tmp_path, "agui")
    showing = asyncio.create_task(shown(folder, "tanstack", shop.api.url, question=REFUND))
    await shop.has_text(HALF)
    await shop.lose_worker()
    assert await showing == {"messages": [["user", REFUND], ["assistant", WHOLE]]}
    shop.refunded_once()
    stopped = await shown(folder, "tanstack", shop.api.url, question=STORY, stop_at=BEGIN)
    assert stopped == {"messages": [["user", STORY], ["assistant", BEGIN]]}
    await shop.stopped()


@pytest.mark.long
async def test_use_chat_shows_one_answer_of_an_agent_whose_worker_is_killed_and_stops_another(
    shop: Shop, browser: Browser, chat_page: Path
) -> None:
    with serving_files(chat_page) as origin:
        query = urlencode({"id": "a", "api": shop.api.url})
        page = await browser.open(f"{origin}/index.html?{query}")
        await page.wait_for(f"{FORM}?.dataset.status === 'ready'")
        await say(page, REFUND)
        await shows(page, SAID, [REFUND, HALF])
        await shop.lose_worker()
        await shows(page, SAID, [REFUND, WHOLE])
        await page.wait_for(f"{FORM}.dataset.status === 'ready'")
        shop.refunded_once()
        await say(page, STORY)
        await shows(page, SAID, [REFUND, WHOLE, STORY, BEGIN])
        await click(page, "form [type=button]")
        await page.wait_for(f"{FORM}.dataset.status === 'ready'")
        await shows(page, SAID, [REFUND, WHOLE, STORY, BEGIN])
        await shop.stopped()


async def say(page: Page, question: str) -> None:
    await page.evaluate("document.querySelector('input').focus()")
    await page.type(question)
    await page.press("Enter", 13)
