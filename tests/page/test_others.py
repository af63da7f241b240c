"""What a reader sees and keeps while others answer, edit and delete in the same conversation."""

import asyncio

import pytest

from tests.page.looking import (
    ANNOUNCED,
    ANSWERS,
    BOX,
    FOCUSED,
    QUESTIONS,
    ask,
    click,
    shows,
    waiting,
)
from tests.page.site import Site
from tests.page.test_actions import BRANCHES, button, press, talk
from tests.support.browser import Browser, Page

pytestmark = pytest.mark.slow

ELSEWHERE = "document.getElementById('elsewhere')"
PROBLEM = "document.getElementById('problem').textContent"


async def beside(browser: Browser, page: Page) -> Page:
    """Another browser on the conversation of a page."""
    return await browser.open(await page.evaluate("location.href"))


async def delete(page: Page, turn: int) -> None:
    """Delete the turn with this number."""
    await press(page, button(turn, "Delete question and answer"))
    await press(page, 'dialog[open] [value="yes"]')


async def test_an_answer_in_another_branch_is_named_shown_and_stopped(
    browser: Browser, site: Site
) -> None:
    page = await browser.open(site.url)
    await talk(page, "One?")
    _, site.answers["One?"] = waiting("so far")
    await press(page, button(1, "Regenerate answer"))
    await shows(page, ANSWERS, ["so far"])
    assert not await page.evaluate(f"{ELSEWHERE}.checkVisibility()")
    await press(page, button(1, "Earlier branch"))
    await shows(page, ANSWERS, ["You said: One?"])
    await page.wait_for(f"{ELSEWHERE}.checkVisibility()")
    await press(page, "#elsewhere button")
    await shows(page, ANSWERS, ["so far"])
    assert not await page.evaluate(f"{ELSEWHERE}.checkVisibility()")
    await press(page, button(1, "Earlier branch"))
    await page.wait_for(f"{ELSEWHERE}.checkVisibility()")
    await page.press("Escape", 27)
    await page.wait_for(f"!{ELSEWHERE}.checkVisibility()")
    await page.wait_for("!document.getElementById('stop').checkVisibility()")
    await press(page, button(1, "Later branch"))
    await shows(page, "document.querySelector('.note').textContent", "Stopped.")


async def test_a_screen_reader_hears_that_an_answer_began_in_another_branch(
    browser: Browser, site: Site
) -> None:
    page = await browser.open(site.url)
    await talk(page, "One?")
    other = await beside(browser, page)
    await shows(other, ANSWERS, ["You said: One?"])
    await press(other, button(1, "Edit question"))
    _, site.answers["One?"] = waiting("so far")
    await press(page, button(1, "Regenerate answer"))
    await shows(other, BRANCHES, ["1 / 2"])
    await shows(other, ANNOUNCED, "An answer is being typed in another branch.")


async def test_an_edited_question_that_somebody_deletes_goes_behind_the_draft(
    browser: Browser, site: Site
) -> None:
    page = await browser.open(site.url)
    await talk(page, "One?", "Two?")
    other = await beside(browser, page)
    await shows(page, f"({ANSWERS}).length", 2)
    await page.evaluate(f"{BOX}.focus()")
    await page.type("A draft")
    await press(page, button(2, "Edit question"))
    await page.type(" And more")
    await delete(other, 2)
    await shows(page, QUESTIONS, ["One?"])
    await shows(page, f"{BOX}.value", "A draft\n\nTwo? And more")
    assert await page.evaluate(FOCUSED) == "message"
    assert "Your text is in this box." in await page.evaluate(PROBLEM)
    await page.reload()
    await shows(page, f"{BOX}.value", "A draft\n\nTwo? And more")


async def test_words_of_a_deleted_question_that_nobody_changed_do_not_come_back(
    browser: Browser, site: Site
) -> None:
    page = await browser.open(site.url)
    await talk(page, "One?", "Two?")
    other = await beside(browser, page)
    await press(page, button(2, "Edit question"))
    await shows(other, f"({ANSWERS}).length", 2)
    await delete(other, 2)
    await shows(page, QUESTIONS, ["One?"])
    assert await page.evaluate(f"{BOX}.value") == ""


async def test_an_edited_question_stays_when_the_reader_looks_at_another_branch(
    browser: Browser, site: Site
) -> None:
    page = await browser.open(site.url)
    await talk(page, "One?", "Two?")
    await press(page, button(1, "Regenerate answer"))
    await shows(page, BRANCHES, ["2 / 2"])
    await page.wait_for("!document.querySelector('[aria-busy=true]')")
    await press(page, button(1, "Earlier branch"))
    await shows(page, QUESTIONS, ["One?", "Two?"])
    await press(page, button(2, "Edit question"))
    await page.type(" And more")
    await click(page, button(1, "Later branch"))
    await shows(page, QUESTIONS, ["One?"])
    await shows(page, f"{BOX}.value", "Two? And more")


async def test_two_readers_delete_and_answer_the_same_turn_at_once(
    browser: Browser, site: Site
) -> None:
    page = await browser.open(site.url)
    await talk(page, "One?", "Two?")
    others = [await beside(browser, page) for _ in range(2)]
    for other in others:
        await shows(other, f"({ANSWERS}).length", 2)
    await asyncio.gather(*(click(other, button(2, "Regenerate answer")) for other in others))
    await shows(page, BRANCHES, ["3 / 3"])
    for one in (page, *others):
        await one.wait_for("!document.querySelector('[aria-busy=true]')")
    for one in (page, *others):
        await click(one, button(1, "Delete question and answer"))
    await asyncio.gather(*(click(one, 'dialog[open] [value="yes"]') for one in (page, *others)))
    for one in (page, *others):
        await shows(one, QUESTIONS, ["Two?"])
        await one.wait_for("!document.querySelector('dialog[open]')")


async def test_a_title_follows_in_other_browsers_and_goes_with_its_turn(
    browser: Browser, site: Site
) -> None:
    page = await browser.open(site.url)
    await talk(page, "One?", "Two?")
    other = await beside(browser, page)
    await shows(other, "document.title", "One?")
    _, site.answers["Three?"] = waiting("so far")
    await ask(other, "Three?")
    await shows(page, f"({ANSWERS}).length", 3)
    await delete(page, 1)
    for one in (page, other):
        await shows(one, QUESTIONS, ["Two?", "Three?"])
        await shows(one, "document.title", "… Two?")
    address = await page.evaluate("location.href")
    path = f"/conversations/{address.partition('?c=')[2]}"
    assert (await site.api.client.patch(path, json={"title": "<b>Rome</b>"})).status_code == 200
    for one in (page, other):
        await shows(one, "document.title", "… <b>Rome</b>")


async def test_a_conversation_that_is_deleted_elsewhere_is_empty_and_can_be_asked_in(
    browser: Browser, site: Site
) -> None:
    page = await browser.open(site.url)
    _, site.answers["One?"] = waiting("so far")
    await ask(page, "One?")
    await shows(page, ANSWERS, ["so far"])
    await page.evaluate(f"{BOX}.focus()")
    await page.type("A draft")
    path = f"/conversations/{(await page.evaluate('location.href')).partition('?c=')[2]}"
    assert (await site.api.client.delete(path)).status_code == 204
    await page.wait_for("document.getElementById('welcome').checkVisibility()")
    await shows(page, "document.title", "Tickertape")
    assert await page.evaluate(f"{BOX}.value") == "A draft"
    await page.press("Enter", 13)
    await shows(page, ANSWERS, ["You said: A draft"])
    await page.wait_for("!document.getElementById('stop').checkVisibility()")


async def test_a_browser_without_any_storage_shows_the_page(browser: Browser, site: Site) -> None:
    page = await browser.open(site.url)
    script = """
        const refuse = () => { throw new DOMException('No.', 'SecurityError') }
        for (const name of ['localStorage', 'sessionStorage']) {
          Object.defineProperty(window, name, {get: refuse})
        }
        window.SharedWorker = function SharedWorker() { refuse() }
    """
    await page.command("Page.addScriptToEvaluateOnNewDocument", source=script)
    await page.reload()
    await ask(page, "Hi?")
    await shows(page, ANSWERS, ["You said: Hi?"])
