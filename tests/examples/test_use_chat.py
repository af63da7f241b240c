"""The component of docs/usechat.md in a browser, with the packages of the AI SDK 7."""

import asyncio
from pathlib import Path
from urllib.parse import urlencode

import pytest

from tests.examples.conftest import PIECES, QUESTION, WHOLE, serving_files
from tests.support.browser import Browser
from tests.support.running_api import RunningApi

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

_SHOWN = "JSON.stringify([...document.querySelectorAll('p')].map((p) => p.textContent))"
_SEND = f"""
document.querySelector('input').value = {QUESTION!r};
document.querySelector('button').click();
"""


async def test_a_page_is_reloaded_in_mid_answer_and_shows_the_whole_chat(
    api: RunningApi, rest: asyncio.Event, browser: Browser, chat_page: Path
) -> None:
    rest.clear()
    with serving_files(chat_page) as origin:
        page = await browser.open(f"{origin}/index.html?{urlencode({'id': 'a', 'api': api.url})}")
        await page.wait_for("document.querySelector('form')?.dataset.status === 'ready'")
        await page.evaluate(_SEND)
        await page.wait_for(f"{_SHOWN} === JSON.stringify([{QUESTION!r}, {PIECES[0]!r}])")
        await page.reload()
        await page.wait_for(f"{_SHOWN} === JSON.stringify([{QUESTION!r}, {PIECES[0]!r}])")
        rest.set()
        await page.wait_for("document.querySelector('form').dataset.status === 'ready'")
        await page.wait_for(f"{_SHOWN} === JSON.stringify([{QUESTION!r}, {WHOLE!r}])")
