"""A server with keys: each tab of a browser shows the conversations of its own key only."""

from collections.abc import AsyncIterator

import pytest

from tests.page.looking import ANSWERS, ask, shows
from tests.page.site import Site, running_site
from tests.page.test_attachments import PENDING, PROBLEM, READ, opened, sent
from tests.page.test_sidebar import LIST
from tests.page.test_status_page import HEADLINE
from tests.support.browser import Browser, Page
from tests.support.upstream import ScriptedUpstream

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

DOOR = "document.getElementById('door').open"
REFUSAL = "document.querySelector('#door .problem').checkVisibility()"
HAS_ROLES = "document.getElementById('role').options.length > 1"
HEADERS = {"Authorization": "Bearer the-key-of-ada-01"}


@pytest.fixture
async def site(redis_url: str, upstream: ScriptedUpstream) -> AsyncIterator[Site]:
    keys = "ada:the-key-of-ada-01,bob:the-key-of-bob-01"
    async with running_site(redis_url, upstream, api_keys=keys, headers=HEADERS) as running:
        yield running


async def give(page: Page, key: str) -> None:
    """Type a key into the dialog that asks for it."""
    await page.wait_for(f"{DOOR} && document.activeElement.id === 'key'")
    await page.type(key)
    await page.press("Enter", 13)


async def test_the_page_asks_for_a_key_once_and_keeps_it_for_a_reload(
    browser: Browser, site: Site
) -> None:
    page = await browser.open(site.url)
    await page.wait_for(DOOR)
    # Counted at the call, because the event of an opening may come later.
    await page.evaluate(
        "window.asked = 0, document.getElementById('door').showModal = function () {"
        " window.asked += 1; HTMLDialogElement.prototype.showModal.call(this) }"
    )
    await give(page, "wrong")
    await page.wait_for(f"{DOOR} && {REFUSAL}")
    await give(page, "the-key-of-ada-01")
    await page.wait_for(HAS_ROLES)
    await ask(page, "Hi?")
    await shows(page, ANSWERS, ["You said: Hi?"])
    assert await page.evaluate("window.asked") == 1
    assert not await page.evaluate(DOOR)
    assert await page.evaluate(PROBLEM) == ""
    await page.reload()
    await shows(page, ANSWERS, ["You said: Hi?"])
    await shows(page, LIST, ["Hi?"])
    assert not await page.evaluate(DOOR)


async def test_two_keys_in_two_tabs_of_one_browser_see_only_their_own_conversations(
    browser: Browser, site: Site
) -> None:
    ada = await browser.open(f"{site.url}?c=same")
    await give(ada, "the-key-of-ada-01")
    await ask(ada, "Of Ada?")
    await shows(ada, LIST, ["Of Ada?"])
    bob = await browser.open(f"{site.url}?c=same", beside=ada)
    assert "Ada" not in await bob.evaluate("document.body.textContent")
    await give(bob, "the-key-of-bob-01")
    await bob.wait_for(HAS_ROLES)
    await ask(bob, "Of Bob?")
    await shows(bob, ANSWERS, ["You said: Of Bob?"])
    await shows(bob, LIST, ["Of Bob?"])
    await ada.reload()
    await shows(ada, ANSWERS, ["You said: Of Ada?"])
    await shows(ada, LIST, ["Of Ada?"])
    for page, other in ((ada, "Bob"), (bob, "Ada")):
        assert other not in await page.evaluate("document.body.textContent + document.title")
    kept = await bob.evaluate("JSON.stringify(localStorage)")
    assert "Of " not in kept
    assert "-key" not in kept


async def test_an_attachment_goes_out_with_the_key(browser: Browser, site: Site) -> None:
    page = await opened(browser, site.url)
    await give(page, "the-key-of-ada-01")
    await page.wait_for(HAS_ROLES)
    await page.evaluate("paste(textFile('a.txt', 'one'))")
    await page.wait_for(f"{PENDING}.length === 1 && {READ}")
    await ask(page, "What is this?")
    await page.wait_for(f"({ANSWERS})[0]")
    assert [part["type"] for part in sent(site)] == ["text", "text"]


async def test_the_status_page_uses_the_key_of_its_tab_and_asks_without_one(
    browser: Browser, site: Site
) -> None:
    page = await browser.open(site.url)
    await give(page, "the-key-of-ada-01")
    await page.wait_for(HAS_ROLES)
    await page.go(f"{site.url}status")
    await page.wait_for(f"{HEADLINE} === 'All is well'", timeout_s=20)
    assert not await page.evaluate(DOOR)
    other = await browser.open(f"{site.url}status", beside=page)
    await give(other, "wrong")
    await other.wait_for(f"{DOOR} && {REFUSAL}")
    await give(other, "the-key-of-bob-01")
    await other.wait_for(f"{HEADLINE} === 'All is well'", timeout_s=20)
