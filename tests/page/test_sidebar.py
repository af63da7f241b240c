"""The list of conversations, the titles, other readers and the files, in a real browser."""

import asyncio
import json
from pathlib import Path

import aiohttp
import pytest

from tests.page.looking import ANSWERS, QUESTIONS, ask, click, shows
from tests.page.site import Site
from tests.page.test_shell import findings
from tests.support.browser import Browser, Page
from tests.support.node import installed
from tests.support.script import Finish, Text, Wait, answer
from tests.support.wait import wait_until

pytestmark = pytest.mark.slow

LIST = "[...document.querySelectorAll('.conversation .title')].map((title) => title.textContent)"
CURRENT = "document.querySelector('[aria-current=page] .title')?.textContent ?? null"
IS_OPEN = "document.getElementById('sidebar').checkVisibility()"
FOCUSED = "document.activeElement.textContent.trim()"
TITLE = "document.title"
CONNECTION = "document.getElementById('status').dataset.connection"


async def submit(site: Site, *messages: str) -> None:
    """Ask a question in a new conversation for each message, the last one latest."""
    async with aiohttp.ClientSession(site.url, raise_for_status=True) as client:
        for number, message in enumerate(messages):
            body = {"message": message, "conversation_id": f"earlier:{number}"}
            await client.post("/chat", json=body)


async def opened(browser: Browser, site: Site, *messages: str, width: int = 1100) -> Page:
    """A page of a new conversation beside these conversations."""
    await submit(site, *messages)
    page = await browser.open(site.url, width=width)
    if width < 800:
        await click(page, "#sidebar-toggle")
    await shows(page, LIST, list(reversed(messages)))
    return page


async def choose(page: Page, title: str, action: str) -> None:
    """Choose from the menu of a conversation by keys."""
    await page.evaluate(
        f"[...document.querySelectorAll('.conversation .more')].find((button) => "
        f"button.ariaLabel === {json.dumps('Options of ' + title)}).focus()"
    )
    await page.press("Enter", 13)
    await page.press("ArrowDown", 40)
    await page.press("ArrowUp", 38)
    if action == "Delete":
        await page.press("End", 35)
    await shows(page, FOCUSED, action)
    await page.press("Enter", 13)


async def test_conversations_are_listed_and_a_click_leads_to_one(
    browser: Browser, site: Site
) -> None:
    page = await opened(browser, site, "One?", "Two?", "Three?")
    assert await page.evaluate(IS_OPEN)
    assert await page.evaluate(CURRENT) is None
    for title in ("One?", "Three?", "Two?", "One?", "Three?", "Two?", "One?"):
        await page.evaluate(
            f"[...document.querySelectorAll('.conversation a')].find((link) => "
            f"link.textContent.startsWith({json.dumps(title)})).click()"
        )
        await shows(page, CURRENT, title)
        await shows(page, ANSWERS, [f"You said: {title}"])
        await shows(page, TITLE, title)
    assert await page.evaluate("document.querySelector('#sidebar h2').textContent") == "Today"
    assert page.problems == []


async def test_a_question_of_this_page_enters_the_list_and_moves_to_its_top(
    browser: Browser, site: Site
) -> None:
    rest = asyncio.Event()
    site.answers["Mine?"] = [Text("so"), Wait(rest), Finish()]
    page = await opened(browser, site, "One?", "Two?")
    await ask(page, "Mine?")
    await shows(page, LIST, ["Mine?", "Two?", "One?"])
    await shows(page, CURRENT, "Mine?")
    running = "document.querySelectorAll('.running:not([hidden])').length"
    await shows(page, running, 1)
    rest.set()
    await shows(page, running, 0)


async def test_a_search_finds_titles_and_esc_brings_the_list_back(
    browser: Browser, site: Site
) -> None:
    page = await opened(browser, site, "A cat", "A dog", "Another CAT")
    await page.evaluate("document.getElementById('search').focus()")
    await page.type("cat")
    await shows(page, LIST, ["Another CAT", "A cat"])
    await page.press("ArrowDown", 40)
    await page.press("ArrowDown", 40)
    await shows(page, FOCUSED, "A cat, an answer is being written")
    await page.evaluate("document.getElementById('search').focus()")
    await page.type("x")
    await shows(page, "document.querySelector('.empty').textContent", "No title has these words.")
    await page.press("Escape", 27)
    await shows(page, LIST, ["Another CAT", "A dog", "A cat"])


async def test_a_conversation_is_renamed_by_keys_and_esc_keeps_its_title(
    browser: Browser, site: Site
) -> None:
    page = await opened(browser, site, "One?", "Two?")
    other = await browser.open(site.url)
    await choose(page, "One?", "Rename")
    await page.type("<b>Uno</b>")
    await page.press("Enter", 13)
    await shows(page, LIST, ["Two?", "<b>Uno</b>"])
    await other.reload()
    await shows(other, LIST, ["Two?", "<b>Uno</b>"])
    await page.press("F2", 113)
    await page.type("Eins")
    await page.press("Escape", 27)
    await shows(page, LIST, ["Two?", "<b>Uno</b>"])
    assert (await page.evaluate(FOCUSED)).startswith("<b>Uno</b>")


async def test_a_conversation_is_deleted_after_a_question(browser: Browser, site: Site) -> None:
    page = await opened(browser, site, "One?", "Two?", "Three?")
    for button, left in (("Keep", ["Three?", "Two?", "One?"]), ("Delete", ["Three?", "One?"])):
        await choose(page, "Two?", "Delete")
        await page.wait_for("document.getElementById('erase').open")
        await shows(page, FOCUSED, "Keep")
        if button == "Delete":
            await page.press("Tab", 9)
        await page.press("Enter", 13)
        await shows(page, LIST, left)
    await shows(page, "document.activeElement.matches('.conversation a')", value=True)
    await page.reload()
    await shows(page, CONNECTION, "open")
    await shows(page, LIST, ["Three?", "One?"])


async def test_the_deleted_conversation_of_this_page_gives_way_to_a_new_one(
    browser: Browser, site: Site
) -> None:
    page = await opened(browser, site, "One?", "Two?")
    await ask(page, "Mine?")
    await shows(page, CURRENT, "Mine?")
    before = await page.evaluate("location.href")
    await choose(page, "Mine?", "Delete")
    await click(page, "#erase .danger")
    await page.wait_for(f"location.href !== {json.dumps(before)}")
    await shows(page, LIST, ["Two?", "One?"])
    await shows(page, QUESTIONS, [])


async def test_a_long_list_is_read_as_it_is_scrolled(browser: Browser, site: Site) -> None:
    await submit(site, *(f"Question {n}" for n in range(70)))
    page = await browser.open(site.url)
    count = f"{LIST}.length"
    await shows(page, count, 30)
    for expected in (60, 70):
        await page.evaluate("document.querySelector('.scroller').scrollTop = 1e6")
        await shows(page, count, expected)
    assert await page.evaluate("document.querySelector('.next').hidden")


async def test_the_drawer_stays_as_the_person_left_it(browser: Browser, site: Site) -> None:
    page = await opened(browser, site, "One?", "Two?")
    await click(page, "#sidebar-toggle")
    assert not await page.evaluate(IS_OPEN)
    await page.reload()
    await shows(page, CONNECTION, "open")
    assert not await page.evaluate(IS_OPEN)
    await click(page, "#sidebar-toggle")
    await page.reload()
    await shows(page, CONNECTION, "open")
    assert await page.evaluate(IS_OPEN)


async def test_one_conversation_alone_opens_no_drawer(browser: Browser, site: Site) -> None:
    page = await browser.open(site.url)
    await ask(page, "Hi?")
    await shows(page, LIST, ["Hi?"])
    assert not await page.evaluate(IS_OPEN)


async def test_on_a_phone_the_list_lies_over_the_page_and_closes_by_esc_tap_and_choice(
    browser: Browser, site: Site
) -> None:
    rest = asyncio.Event()
    site.answers["Hi?"] = [Text("so far"), Wait(rest), Finish()]
    page = await opened(browser, site, "One?", "Two?", width=320)
    await page.press("Escape", 27)
    assert not await page.evaluate(IS_OPEN)
    await ask(page, "Hi?")
    await shows(page, ANSWERS, ["so far"])
    await click(page, "#sidebar-toggle")
    assert await page.evaluate("document.getElementById('feed').inert")
    await page.press("Escape", 27)
    assert not await page.evaluate(IS_OPEN)
    assert await page.evaluate("document.activeElement.id") == "sidebar-toggle"
    await shows(page, ANSWERS, ["so far"])
    assert not await page.evaluate("document.getElementById('stop').hidden")
    await click(page, "#sidebar-toggle")
    for kind in ("touchStart", "touchEnd"):
        points = [{"x": 310, "y": 400}] if kind == "touchStart" else []
        await page.command("Input.dispatchTouchEvent", type=kind, touchPoints=points)
    await page.wait_for(f"!{IS_OPEN}")
    await click(page, "#sidebar-toggle")
    assert await page.evaluate("document.documentElement.scrollWidth") == 320
    small = (
        "[...document.querySelectorAll('#sidebar :is(button, a, input), header :is(button, a)')]"
        ".filter((one) => one.checkVisibility() && one.getBoundingClientRect().height < 44)"
        ".map((one) => one.outerHTML)"
    )
    assert await page.evaluate(small) == []
    await page.evaluate("document.querySelectorAll('.conversation a')[1].click()")
    await shows(page, QUESTIONS, ["Two?"])
    assert not await page.evaluate(IS_OPEN)


async def test_two_browsers_see_that_two_are_watching(browser: Browser, site: Site) -> None:
    watching = "document.getElementById('watchers')"
    page = await browser.open(site.url)
    await ask(page, "Hi?")
    assert await page.evaluate(f"{watching}.hidden")
    other = await browser.open(await page.evaluate("location.href"))
    for each in (page, other):
        await shows(each, f"{watching}.checkVisibility()", value=True)
        assert await each.evaluate(f"{watching}.textContent") == "2 watching"
    await other.go(site.url)
    await shows(page, f"{watching}.hidden", value=True)


async def test_the_tab_says_that_an_answer_is_typed_and_that_one_ended_unseen(
    browser: Browser, site: Site
) -> None:
    rest = asyncio.Event()
    site.answers["Hi?"] = [Text("so"), Wait(rest), Finish()]
    page = await browser.open(site.url)
    await shows(page, TITLE, "Tickertape")
    await ask(page, "Hi?")
    await shows(page, TITLE, "… Hi?")
    hide = "Object.defineProperty(document, 'hidden', {{value: {}, configurable: true}});"
    tell = "document.dispatchEvent(new Event('visibilitychange'))"
    await page.evaluate(hide.format("true") + tell)
    rest.set()
    await shows(page, TITLE, "• Hi?")
    await page.evaluate(hide.format("false") + tell)
    await shows(page, TITLE, "Hi?")


async def test_the_files_hold_the_text_of_the_logs(
    browser: Browser, site: Site, tmp_path: Path
) -> None:
    text = "Some **code**:\n\n```js\nlet a = '<b>'\n```\n\n| a | b |\n|---|---|\n| 1 | 2 |\n"
    site.answers["What?\nReally?"] = answer(text)
    page = await browser.open(site.url)
    await page.command("Page.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    await page.evaluate("document.getElementById('message').focus()")
    await page.type("What?\nReally?")
    await page.press("Enter", 13)
    await shows(page, "document.querySelector('.answer > .text')?.rawText", text)
    await page.wait_for("document.querySelector('.answer').ariaBusy === 'false'")
    for selector, name in (
        ("#save-markdown", "What-Really.md"),
        ("#save-json", "What-Really.json"),
    ):
        await click(page, "#share")
        await click(page, selector)
        await wait_until((tmp_path / name).exists, description=f"{name} to be saved")
    assert (tmp_path / "What-Really.md").read_text() == (
        f"# What? Really?\n\n## Question\n\n> What?\n> Really?\n\n## Answer\n\n{text}\n"
    )
    saved = json.loads((tmp_path / "What-Really.json").read_text())
    async with aiohttp.ClientSession(site.url, raise_for_status=True) as client:
        log = await (await client.get(f"/chat/{saved['turns'][0]['request_id']}")).json()
    assert saved["turns"][0]["text"] == log["text"] == text
    assert saved["turns"][0]["sha256"] == log["sha256"]
    assert page.problems == []


@pytest.mark.parametrize("scheme", ["light", "dark", "forced"])
async def test_axe_finds_nothing_with_the_list_open(
    browser: Browser, site: Site, tmp_path: Path, scheme: str
) -> None:
    axe = (installed(tmp_path, "axe") / "node_modules/axe-core/axe.min.js").read_text()
    await submit(site, "One?", "Two?")
    for width in (1100, 375):
        page = await browser.open(site.url, dark=scheme == "dark", width=width)
        if scheme == "forced":
            forced = {"name": "forced-colors", "value": "active"}
            await page.command("Emulation.setEmulatedMedia", features=[forced])
        if width == 375:
            await click(page, "#sidebar-toggle")
        await ask_if_wide(page, width)
        await page.evaluate(axe)
        assert await findings(page) == []
        await page.evaluate("document.querySelector('.conversation .more').click()")
        assert await findings(page) == []
        await page.evaluate("document.querySelector('.conversation .rename').click()")
        assert await findings(page) == []
        await page.press("Escape", 27)
        await page.evaluate("document.getElementById('erase').showModal()")
        assert await findings(page) == []


async def ask_if_wide(page: Page, width: int) -> None:
    """Ask, so that the list has the page's own conversation; on a phone it lies over the box."""
    if width > 800:
        await ask(page, "Mine?")
        await shows(page, CURRENT, "Mine?")
    await page.wait_for(f"{LIST}.length > 1")
