"""Links that only read: what their readers see, and how the owner stops them."""

from collections.abc import AsyncIterator

import pytest

from tests.page.looking import ANSWERS, ask, shows
from tests.page.site import Site, running_site
from tests.support.browser import Browser, Page
from tests.support.upstream import ScriptedUpstream

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

KEY = "the-key-of-ada-01"
DOOR = "document.getElementById('door').open"
SAYS = "document.querySelector('#share .label').textContent"
PROBLEM = "document.getElementById('problem').textContent"


@pytest.fixture
async def site(redis_url: str, upstream: ScriptedUpstream) -> AsyncIterator[Site]:
    headers = {"Authorization": f"Bearer {KEY}"}
    async with running_site(redis_url, upstream, api_keys=f"ada:{KEY}", headers=headers) as running:
        yield running


async def choose(page: Page, item: str, says: str) -> None:
    await page.evaluate(
        f"document.getElementById('share').click(), document.getElementById('{item}').click()"
    )
    await page.wait_for(f"{SAYS} === '{says}'")


async def test_a_read_only_link_shows_the_conversation_until_it_is_stopped(
    browser: Browser, site: Site
) -> None:
    owner = await browser.open(f"{site.url}?c=c")
    await owner.wait_for(DOOR)
    await owner.type(KEY)
    await owner.press("Enter", 13)
    await owner.wait_for("document.getElementById('role').options.length > 1")
    await ask(owner, "Hi?")
    await shows(owner, ANSWERS, ["You said: Hi?"])
    await owner.evaluate("navigator.clipboard.writeText = async (text) => { window.copied = text }")
    await choose(owner, "copy-read-only", "Copied for a week")
    link = str(await owner.evaluate("window.copied"))
    assert "#ticket=tk1_" in link
    assert KEY not in link

    friend = await browser.open(link)
    await shows(friend, ANSWERS, ["You said: Hi?"])
    for part in ("composer", "sidebar-toggle"):
        assert not await friend.evaluate(f"document.getElementById('{part}').checkVisibility()")
    await ask(owner, "And now?")
    await shows(friend, ANSWERS, ["You said: Hi?", "You said: And now?"])

    await choose(owner, "stop-read-only", "Links stopped")
    await friend.wait_for(f"{PROBLEM}.startsWith('This link was stopped')")
    assert not await friend.evaluate(DOOR)
    await ask(owner, "Alone again?")
    await shows(owner, ANSWERS, ["You said: Hi?", "You said: And now?", "You said: Alone again?"])
    assert "Alone" not in str(await friend.evaluate("document.body.textContent"))
    assert [
        problem for page in browser.pages for problem in page.problems if "401" not in problem
    ] == []
