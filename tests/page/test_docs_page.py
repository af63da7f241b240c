"""The documentation page in a real browser: the first "Try it out" of each submit call works."""

import pytest

from tests.page.site import Site, running_site, take_assets_away
from tests.support.browser import Browser, Page
from tests.support.upstream import ScriptedUpstream
from tickertape.api.page.files import load_page

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]
needs_assets = pytest.mark.skipif(
    "/assets/swagger-ui-bundle.js" not in load_page().files,
    reason="the assets of the page are not built",
)

SUBMITS = {
    "requests_submit": "202",
    "openai_chat_create": "200",
    "openai_responses_create": "200",
    "ai_sdk_send": "200",
    "gpt_terminal_get": "200",
}
_BLOCK = "document.querySelector('[id$=\"-{name}\"]')"
_FOREIGN = """
    performance.getEntriesByType('resource').map(({name}) => name)
      .filter((name) => !name.startsWith(location.origin) && !name.startsWith('data:'))
"""


async def try_out(page: Page, name: str) -> str:
    """Open a call, press "Try it out" and "Execute", and return the status of the response."""
    block = _BLOCK.format(name=name)
    await page.evaluate(f"{block}.querySelector('.opblock-summary-control').click()")
    for button in (".try-out__btn", ".execute"):
        await page.wait_for(f"{block}.querySelector('{button}') !== null")
        await page.evaluate(f"{block}.querySelector('{button}').click()")
    status = (
        f"{block}.querySelector('.live-responses-table tbody .response-col_status')?.textContent"
    )
    await page.wait_for(status, description=f"{name} is answered")
    return str(await page.evaluate(status)).split()[0]


@needs_assets
async def test_the_first_try_of_each_submit_call_works_and_nothing_is_loaded_from_elsewhere(
    browser: Browser, site: Site
) -> None:
    page = await browser.open(f"{site.url}docs", height=3000)
    await page.wait_for("document.querySelectorAll('.opblock').length > 20")
    assert {name: await try_out(page, name) for name in SUBMITS} == SUBMITS
    assert await page.evaluate(_FOREIGN) == []
    assert page.problems == []


async def test_without_the_files_of_swagger_ui_the_page_says_where_the_document_is(
    browser: Browser,
    redis_url: str,
    upstream: ScriptedUpstream,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    take_assets_away(monkeypatch)
    async with running_site(redis_url, upstream) as site:
        page = await browser.open(f"{site.url}docs")
        await page.wait_for("document.querySelector('#note a[href=\"./openapi.json\"]') !== null")
        # The browser refuses the JSON of the error in place of a style sheet or a script.
        assert all("swagger-ui" in problem for problem in page.problems)
        page.problems.clear()
