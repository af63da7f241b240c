"""Nothing jumps while a page loads."""

import pytest

from tests.page.site import Site
from tests.page.test_sidebar import CONNECTION, opened
from tests.support.browser import Browser, Page

pytestmark = pytest.mark.slow

# What search engines call a good page has less than 0.1.
_MAX_SHIFT = 0.05
# The sum of all shifts so far. Without one, the observer is not called, so a timer answers.
_SHIFT = """
    new Promise((done) => {
      new PerformanceObserver((list) => {
        done(list.getEntries().reduce((sum, {value}) => sum + value, 0))
      }).observe({type: 'layout-shift', buffered: true})
      setTimeout(done, 500, 0)
    })
"""


async def shift(page: Page) -> float:
    """The cumulative layout shift of the page since it was opened."""
    return float(await page.evaluate(_SHIFT))


@pytest.mark.parametrize("width", [1280, 375])
async def test_a_page_with_a_list_of_conversations_does_not_jump(
    browser: Browser, site: Site, width: int
) -> None:
    first = await opened(browser, site, "One?", "Two?", width=width)
    address = await first.evaluate("location.href")
    for url in (site.url, address):
        page = await browser.open(url, width=width, beside=first)
        await page.wait_for(f"{CONNECTION} === 'open'")
        await page.wait_for("document.querySelectorAll('.conversation').length > 1")
        assert await shift(page) < _MAX_SHIFT


async def test_the_status_page_does_not_jump(browser: Browser, site: Site) -> None:
    page = await browser.open(f"{site.url}status", width=1280)
    await page.wait_for("document.querySelectorAll('#numbers div').length > 1")
    assert await shift(page) < _MAX_SHIFT
