"""The page in a real browser."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from tests.page.scripted_api import Event, ScriptedApi
from tests.support.browser import Browser, Page
from tests.support.wait import wait_until

pytestmark = pytest.mark.slow

_ANSWERS = "[...document.querySelectorAll('.answer > .text')].map((text) => text.textContent)"
_QUESTIONS = "[...document.querySelectorAll('.question .text')].map((text) => text.textContent)"
_STATUS = "document.getElementById('status').textContent"
_BOX = "document.getElementById('message')"
_OPEN = "document.getElementById('status').dataset.connection === 'open'"


async def _ask(page: Page, question: str) -> None:
    await page.evaluate(f"{_BOX}.focus()")
    await page.type(question)
    await page.press("Enter", 13)
    await page.wait_for(f"{_BOX}.value === ''", description="the question to be accepted")


async def _shows(page: Page, expression: str, value: object) -> None:
    await wait_until(
        lambda: _is(page, expression, value), description=f"{expression} to be {value!r}"
    )


async def _is(page: Page, expression: str, value: object) -> bool:
    return bool(await page.evaluate(expression) == value)


async def _click(page: Page, selector: str) -> None:
    await page.wait_for(f"document.querySelector('{selector}')?.checkVisibility()")
    await page.evaluate(f"document.querySelector('{selector}').click()")


async def _link(page: Page) -> str:
    return str(await page.evaluate("location.href"))


async def test_a_question_is_answered_as_it_is_typed(
    browser: Browser, base_url: str, server: ScriptedApi
) -> None:
    rest = asyncio.Event()
    server.answers["Hi?"] = ["Hel", "lo, ", rest, "world."]
    page = await browser.open(base_url)
    await _ask(page, "Hi?")
    await _shows(page, _ANSWERS, ["Hello, "])
    assert await page.evaluate("document.querySelector('.answer').ariaBusy") == "true"
    rest.set()
    await _shows(page, _ANSWERS, ["Hello, world."])
    await page.wait_for("document.querySelector('.answer').ariaBusy === 'false'")
    assert await page.evaluate(_QUESTIONS) == ["Hi?"]
    assert page.problems == []
