"""The page of docs/tanstack.md in a browser, with TanStack's own packages."""

from pathlib import Path
from urllib.parse import urlencode

import pytest

from tests.examples.conftest import bundled, serving_files
from tests.examples.shop import BEGIN, HALF, REFUND, STORY, WHOLE, Shop
from tests.page.looking import click, shows
from tests.support.browser import Browser, Page
from tests.support.node import installed

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

_ENTRY = """
import { createRoot } from 'react-dom/client';
import { Chat } from './tanstack_chat.jsx';
const query = Object.fromEntries(new URLSearchParams(location.search));
createRoot(document.querySelector('main')).render(<Chat {...query} />);
"""
_SAID = """
    [...document.querySelectorAll('p')].map((p) => p.textContent).filter((text) => text)
"""
_STATUS = "document.querySelector('form')?.dataset.status"


@pytest.fixture
def page_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the page."""
    folder = installed(tmp_path_factory.mktemp("tanstack"), "tanstack")
    tools = installed(tmp_path_factory.mktemp("tools"), "own_page") / "node_modules"
    return bundled(folder, tools, "tanstack_chat.jsx", _ENTRY)


async def test_a_page_of_tanstack_shows_one_answer_through_a_reload_and_stops_another(
    shop: Shop, browser: Browser, page_folder: Path
) -> None:
    with serving_files(page_folder) as origin:
        query = urlencode({"threadId": "a", "server": shop.api.url, "model": "shop-agent"})
        page = await browser.open(f"{origin}/index.html?{query}")
        await say(page, REFUND)
        await shows(page, _SAID, [REFUND, HALF])
        await page.reload()
        await shows(page, _SAID, [REFUND, HALF])
        await shop.lose_worker()
        await shows(page, _SAID, [REFUND, WHOLE])
        shop.refunded_once()
        await say(page, STORY)
        await shows(page, _SAID, [REFUND, WHOLE, STORY, BEGIN])
        await page.reload()
        await shows(page, _SAID, [REFUND, WHOLE, STORY, BEGIN])
        await click(page, "form [type=button]")
        await shop.stopped()
        await page.wait_for(f"{_STATUS} === 'ready'")
        await shows(page, _SAID, [REFUND, WHOLE, STORY, BEGIN])


async def say(page: Page, question: str) -> None:
    await page.wait_for(f"{_STATUS} === 'ready'")
    await page.evaluate("document.querySelector('input').focus()")
    await page.type(question)
    await page.press("Enter", 13)
