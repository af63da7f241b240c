"""What a person does with an answer and a question: copy, regenerate, edit, switch, delete."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.page.looking import ANNOUNCED, ANSWERS, FOCUSED, NOTES, QUESTIONS, ask, click, shows
from tests.page.site import Site
from tests.page.test_shell import findings
from tests.support.browser import Browser, Page
from tests.support.node import installed
from tests.support.script import Finish, Text, Wait, answer

pytestmark = pytest.mark.slow

BRANCHES = (
    "[...document.querySelectorAll('.branches')].filter((one) => one.checkVisibility())"
    ".map((one) => one.textContent)"
)
Use = Callable[[Page, str], Awaitable[None]]
LABEL = "document.activeElement.ariaLabel"


def button(turn: int, label: str) -> str:
    """The selector of a button of the turn with this number."""
    return f'#requests > li:nth-child({turn}) [aria-label="{label}"]'


async def press(page: Page, selector: str) -> None:
    """Press a button with the keyboard alone, once it can be focused."""
    await page.command("Page.bringToFront")
    await page.wait_for(f"document.querySelector('{selector}')?.checkVisibility()")
    await page.evaluate(f"document.querySelector('{selector}').focus()")
    await page.press("Enter", 13)


async def talk(page: Page, *questions: str) -> None:
    """Ask these, and wait for each answer."""
    for number, question in enumerate(questions, 1):
        await ask(page, question)
        await shows(page, f"({ANSWERS}).length", number)
        await page.wait_for("!document.querySelector('[aria-busy=true]')")


def sent(site: Site, call: int) -> list[str]:
    """The texts that the upstream got with a call."""
    return [message["content"] for message in site.upstream.calls[call].body["messages"]]


@pytest.mark.parametrize("use", [click, press])
async def test_copy_gives_the_markdown_of_the_answer_and_the_text_of_the_question(
    browser: Browser, site: Site, use: Use
) -> None:
    site.answers["Hi?"] = answer("# One\n\n*two*")
    page = await browser.open(site.url)
    target = await page.command("Target.getTargetInfo")
    await browser.command(
        "Browser.grantPermissions",
        permissions=["clipboardReadWrite", "clipboardSanitizedWrite"],
        browserContextId=target["targetInfo"]["browserContextId"],
    )
    await talk(page, "Hi?")
    for label, text in (("Copy answer", "# One\n\n*two*"), ("Copy question", "Hi?")):
        await page.evaluate("document.getElementById('announcer').textContent = ''")
        await use(page, button(1, label))
        await shows(page, ANNOUNCED, "Copied.")
        assert await page.evaluate("navigator.clipboard.readText()") == text
    await page.evaluate("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
    await page.evaluate("document.getElementById('announcer').textContent = ''")
    await use(page, button(1, "Copy answer"))
    await shows(page, ANNOUNCED, "Copied.")


async def test_another_answer_in_the_middle_keeps_the_old_one_for_every_browser(
    browser: Browser, site: Site
) -> None:
    site.answers["Two?"] = iter([answer("first"), answer("second")]).__next__
    page = await browser.open(site.url)
    await talk(page, "One?", "Two?", "Three?")
    await press(page, button(2, "Regenerate answer"))
    await shows(page, ANSWERS, ["You said: One?", "second"])
    await shows(page, BRANCHES, ["2 / 2"])
    assert sent(site, 3) == ["One?", "You said: One?", "Two?"]
    assert await page.evaluate(FOCUSED) == "feed"
    other = await browser.open(await page.evaluate("location.href"))
    await shows(other, ANSWERS, ["You said: One?", "second"])
    await press(other, button(2, "Earlier branch"))
    await shows(other, ANSWERS, ["You said: One?", "first", "You said: Three?"])
    await shows(other, BRANCHES, ["1 / 2"])
    await shows(other, ANNOUNCED, "Branch 1 of 2.")
    assert await other.evaluate(LABEL) == "Earlier branch"
    await other.reload()
    await shows(other, ANSWERS, ["You said: One?", "first", "You said: Three?"])
    await ask(other, "Four?")
    await shows(other, QUESTIONS, ["One?", "Two?", "Three?", "Four?"])
    await shows(other, "document.querySelectorAll('[aria-busy=true]').length", 0)
    assert sent(site, 4)[2:] == ["Two?", "first", "Three?", "You said: Three?", "Four?"]


@pytest.mark.parametrize("use", [click, press])
async def test_an_edited_question_is_a_branch_and_its_history_is_what_was_before_it(
    browser: Browser, site: Site, use: Use
) -> None:
    page = await browser.open(site.url)
    await talk(page, "One?", "Two?", "Three?")
    await use(page, button(2, "Edit question"))
    assert await page.evaluate("document.activeElement.value") == "Two?"
    await page.press("Escape", 27)
    assert await page.evaluate(LABEL) == "Edit question"
    await use(page, button(2, "Edit question"))
    await page.evaluate("document.activeElement.select()")
    await page.type("Deux?")
    await page.press("Enter", 13)
    await shows(page, QUESTIONS, ["One?", "Deux?"])
    await shows(page, ANSWERS, ["You said: One?", "You said: Deux?"])
    assert sent(site, 3) == ["One?", "You said: One?", "Deux?"]
    await shows(page, BRANCHES, ["2 / 2"])
    assert await page.evaluate(FOCUSED) == "feed"
    await use(page, button(2, "Earlier branch"))
    await shows(page, QUESTIONS, ["One?", "Two?", "Three?"])


async def test_an_edit_stays_open_while_somebody_else_asks_beside_the_question(
    browser: Browser, site: Site
) -> None:
    page = await browser.open(site.url)
    await talk(page, "One?", "Two?")
    other = await browser.open(await page.evaluate("location.href"))
    await press(page, button(2, "Edit question"))
    await page.type(" Or three?")
    await press(other, button(2, "Regenerate answer"))
    await shows(page, BRANCHES, ["1 / 2"])
    assert await page.evaluate("document.activeElement.value") == "Two? Or three?"
    await press(page, ".edit .main")
    await shows(page, QUESTIONS, ["One?", "Two? Or three?"])
    await shows(page, BRANCHES, ["3 / 3"])


async def test_esc_in_an_edited_question_does_not_stop_the_answer_that_is_written(
    browser: Browser, site: Site
) -> None:
    rest = asyncio.Event()
    site.answers["Two?"] = [Text("so far"), Wait(rest), Text(", so good"), Finish()]
    page = await browser.open(site.url)
    await talk(page, "One?")
    await ask(page, "Two?")
    await shows(page, ANSWERS, ["You said: One?", "so far"])
    shown = "document.querySelectorAll('#requests > li:nth-child(2) .icon:not([hidden])')"
    visible = f"[...{shown}].filter((one) => one.checkVisibility()).length"
    assert await page.evaluate(visible) == 0
    await press(page, button(1, "Edit question"))
    await page.press("Escape", 27)
    rest.set()
    await shows(page, ANSWERS, ["You said: One?", "so far, so good"])


async def test_another_answer_gets_the_options_of_the_first_in_any_browser(
    browser: Browser, site: Site
) -> None:
    page = await browser.open(site.url)
    await page.wait_for("document.getElementById('role').options.length > 1")
    await ask(page, "gpt chat -r sql -t 0.5 -m scripted all users")
    await shows(page, ANSWERS, ["You said: all users"])
    await ask(page, "gpt chat -r default -t 1 and now")
    await shows(page, f"({ANSWERS}).length", 2)
    other = await browser.open(await page.evaluate("location.href"))
    await press(other, button(1, "Regenerate answer"))
    await shows(other, BRANCHES, ["2 / 2"])
    await shows(other, ANSWERS, ["You said: all users"])
    first, again = site.upstream.calls[0].body, site.upstream.calls[2].body
    assert first == again


async def test_a_turn_is_deleted_under_a_reader_who_edits_it(browser: Browser, site: Site) -> None:
    page = await browser.open(site.url)
    await talk(page, "One?", "Two?", "Three?")
    reader = await browser.open(await page.evaluate("location.href"))
    await shows(reader, f"({ANSWERS}).length", 3)
    await press(reader, button(2, "Edit question"))
    await press(page, button(2, "Delete question and answer"))
    await page.wait_for("document.querySelector('dialog[open]') !== null")
    await page.press("Escape", 27)
    await page.wait_for("!document.querySelector('dialog[open]')")
    assert await page.evaluate(LABEL) == "Delete question and answer"
    await press(page, button(2, "Delete question and answer"))
    await press(page, 'dialog[open] [value="yes"]')
    for one in (page, reader):
        await shows(one, QUESTIONS, ["One?", "Three?"])
        assert await one.evaluate(FOCUSED) == "feed"
    await ask(reader, "Four?")
    await shows(reader, f"({ANSWERS}).length", 3)
    await reader.wait_for("!document.querySelector('[aria-busy=true]')")
    assert sent(site, 3) == ["One?", "You said: One?", "Three?", "You said: Three?", "Four?"]


async def test_two_people_who_ask_at_the_same_time_get_one_line(
    browser: Browser, site: Site
) -> None:
    rest = asyncio.Event()
    site.answers["One?"] = [Text("one"), Wait(rest), Finish()]
    first = await browser.open(site.url)
    await ask(first, "One?")
    await shows(first, ANSWERS, ["one"])
    second = await browser.open(await first.evaluate("location.href"))
    await shows(second, ANSWERS, ["one"])
    await asyncio.gather(ask(first, "Two?"), ask(second, "Three?"))
    rest.set()
    for page in (first, second):
        await shows(page, f"({ANSWERS}).length", 3)
        await shows(page, BRANCHES, [])
    assert await first.evaluate(QUESTIONS) == await second.evaluate(QUESTIONS)


async def test_a_role_of_ones_own_goes_out_once_on_each_branch(
    browser: Browser, site: Site
) -> None:
    page = await browser.open(site.url)
    await talk(page, "One?")
    await ask(page, 'gpt diy -k pirate -n "A pirate" -d "Say arr."')
    await ask(page, "Two?")
    await shows(page, ANSWERS, ["You said: One?", "You said: Two?"])
    await press(page, button(1, "Regenerate answer"))
    await shows(page, BRANCHES, ["2 / 2"])
    await page.wait_for("!document.querySelector('[aria-busy=true]')")
    await ask(page, "Three?")
    await shows(page, ANSWERS, ["You said: One?", "You said: Three?"])
    assert sent(site, 3)[-2:] == ["Say arr.", "Three?"]


async def test_usage_and_times_are_the_same_in_two_browsers_and_after_a_reload(
    browser: Browser, site: Site
) -> None:
    page = await browser.open(site.url)
    await talk(page, "Hi?")
    note = f"({NOTES})[0]"
    await page.wait_for(f"/tokens in, \\d+ out · began after [\\d.]+ s · ended/.test({note})")
    words = await page.evaluate(note)
    other = await browser.open(await page.evaluate("location.href"))
    await shows(other, note, words)
    await page.reload()
    await shows(page, note, words)


async def test_on_a_small_phone_the_buttons_show_and_are_large_enough(
    browser: Browser, site: Site
) -> None:
    page = await browser.open(site.url, width=320, height=600)
    await talk(page, "One?")
    await click(page, button(1, "Regenerate answer"))
    await shows(page, BRANCHES, ["2 / 2"])
    await page.wait_for("!document.querySelector('[aria-busy=true]')")
    sizes = (
        "[...document.querySelectorAll('#requests button')].filter((one) => one.checkVisibility())"
        ".map((one) => one.getBoundingClientRect()).filter(({width, height}) => "
        "width < 44 || height < 44).length"
    )
    assert await page.evaluate(sizes) == 0
    feed = "document.getElementById('feed')"
    assert await page.evaluate(f"{feed}.scrollWidth - {feed}.clientWidth") == 0


async def test_axe_finds_nothing_in_the_rows_the_form_and_the_confirmation(
    browser: Browser, site: Site, tmp_path: Path
) -> None:
    axe = (installed(tmp_path, "axe") / "node_modules/axe-core/axe.min.js").read_text()
    for dark in (False, True):
        page = await browser.open(site.url, dark=dark)
        await talk(page, "One?")
        await press(page, button(1, "Regenerate answer"))
        await shows(page, BRANCHES, ["2 / 2"])
        await page.wait_for("!document.querySelector('[aria-busy=true]')")
        await page.evaluate(axe)
        assert await findings(page) == []
        await press(page, button(1, "Edit question"))
        assert await findings(page) == []
        await page.press("Escape", 27)
        await press(page, button(1, "Delete question and answer"))
        assert await findings(page) == []
