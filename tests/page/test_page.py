"""The page in a real browser, with a real API, worker and Redis behind it."""

import asyncio

import pytest

from tests.page.site import Site
from tests.support.browser import Browser, Page
from tests.support.script import Finish, Text, Wait, answer
from tests.support.wait import wait_until

pytestmark = pytest.mark.slow

ANSWERS = "[...document.querySelectorAll('.answer > .text')].map((text) => text.textContent)"
QUESTIONS = "[...document.querySelectorAll('.question .text')].map((text) => text.textContent)"
BOX = "document.getElementById('message')"
STATUS = "document.getElementById('status').textContent"


async def ask(page: Page, question: str) -> None:
    await page.evaluate(f"{BOX}.focus()")
    await page.type(question)
    await page.press("Enter", 13)
    await page.wait_for(f"{BOX}.value === ''", description="the question to be accepted")


async def shows(page: Page, expression: str, value: object) -> None:
    async def does() -> bool:
        return bool(await page.evaluate(expression) == value)

    await wait_until(does, timeout_s=20, description=f"{expression} to be {value!r}")


async def test_a_question_is_answered_as_it_is_typed(browser: Browser, site: Site) -> None:
    rest = asyncio.Event()
    site.answers["Hi?"] = [Text("Hel"), Text("lo, "), Wait(rest), Text("world."), Finish()]
    page = await browser.open(site.url)
    await ask(page, "Hi?")
    await shows(page, ANSWERS, ["Hello, "])
    assert await page.evaluate("document.querySelector('.answer').ariaBusy") == "true"
    rest.set()
    await shows(page, ANSWERS, ["Hello, world."])
    await page.wait_for("document.querySelector('.answer').ariaBusy === 'false'")
    assert await page.evaluate(QUESTIONS) == ["Hi?"]
    assert page.problems == []
