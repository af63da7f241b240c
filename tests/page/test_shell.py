"""The page's box, history and keys, in a real browser."""

import json
from pathlib import Path

import pytest

from tests.page.looking import (
    ANSWERS,
    BOX,
    FEED,
    FOCUSED,
    LINES,
    NOTES,
    QUESTIONS,
    ask,
    click,
    shows,
    waiting,
)
from tests.page.site import Site
from tests.support.browser import Browser, Page
from tests.support.node import installed
from tests.support.script import answer

pytestmark = pytest.mark.slow

ROLES_LOADED = "document.getElementById('role').options.length > 1"
SEVERE = ("moderate", "serious", "critical")


async def test_ctrl_c_with_a_selection_copies_and_stops_nothing(
    browser: Browser, site: Site
) -> None:
    rest, site.answers["Hi?"] = waiting("so far", ", so good")
    page = await browser.open(site.url)
    await ask(page, "Hi?")
    await shows(page, ANSWERS, ["so far"])
    await page.type("selected")
    await page.evaluate(f"{BOX}.select()")
    await page.press("c", 67, ctrl=True)
    rest.set()
    await shows(page, ANSWERS, ["so far, so good"])


async def test_the_focus_of_a_stop_button_that_disappears_goes_to_the_history(
    browser: Browser, site: Site
) -> None:
    _, site.answers["Hi?"] = waiting("so far")
    page = await browser.open(site.url)
    await ask(page, "Hi?")
    await shows(page, ANSWERS, ["so far"])
    await page.evaluate("document.getElementById('stop').focus()")
    await page.press("Enter", 13)
    await shows(page, NOTES, ["Stopped."])
    await shows(page, FOCUSED, "feed")


async def test_a_screen_reader_hears_the_beginning_and_the_end_and_no_token(
    browser: Browser, site: Site
) -> None:
    rest, site.answers["Hi?"] = waiting("one two", " three")
    page = await browser.open(site.url)
    await page.evaluate(
        "window.said = []; new MutationObserver(() => said.push(document.getElementById("
        "'announcer').textContent)).observe(document.getElementById('announcer'), "
        "{childList: true, characterData: true, subtree: true})"
    )
    await ask(page, "Hi?")
    await shows(page, ANSWERS, ["one two"])
    rest.set()
    await shows(page, "window.said", ["The answer began.", "Answer finished, 3 words."])


async def test_arrow_up_recalls_questions_and_arrow_down_the_empty_box(
    browser: Browser, site: Site
) -> None:
    page = await browser.open(site.url)
    for question in ("One?", "Two?"):
        await ask(page, question)
    await shows(page, QUESTIONS, ["One?", "Two?"])
    for key, code, text in (
        ("ArrowUp", 38, "Two?"),
        ("ArrowUp", 38, "One?"),
        ("ArrowDown", 40, "Two?"),
        ("ArrowDown", 40, ""),
    ):
        await page.press(key, code)
        assert await page.evaluate(f"{BOX}.value") == text


async def test_the_draft_and_the_choices_survive_a_reload(browser: Browser, site: Site) -> None:
    page = await browser.open(site.url)
    await page.wait_for(ROLES_LOADED)
    await choose_role(page, "teacher")
    await page.evaluate("document.querySelector('#variables input').focus()")
    await page.type("a nurse")
    await page.evaluate(f"{BOX}.focus()")
    await page.type("half a que")
    await page.reload()
    await page.wait_for(ROLES_LOADED)
    assert await page.evaluate(f"{BOX}.value") == "half a que"
    assert await page.evaluate("document.getElementById('role').value") == "teacher"
    await page.evaluate(f"{BOX}.focus(); {BOX}.select()")
    await ask(page, "Why?")
    await shows(page, ANSWERS, ["You said: Why?"])
    assert "a nurse" in json.dumps(site.upstream.calls[0].body)


async def test_the_role_belongs_to_the_conversation(browser: Browser, site: Site) -> None:
    page = await browser.open(site.url)
    await page.wait_for(ROLES_LOADED)
    await choose_role(page, "sql")
    await ask(page, "All users")
    await shows(page, ANSWERS, ["You said: All users"])
    other = await browser.open(await page.evaluate("location.href"))
    await shows(other, "document.getElementById('role').value", "sql")
    await ask(other, "All orders")
    await shows(other, ANSWERS, ["You said: All users", "You said: All orders"])
    assert site.upstream.calls[1].body["messages"][0]["role"] == "system"


async def choose_role(page: Page, name: str) -> None:
    """Choose a role as a person does."""
    await page.evaluate(
        f"document.getElementById('role').value = '{name}';"
        "document.getElementById('role').dispatchEvent(new Event('change', {bubbles: true}))"
    )


async def test_commands_run_in_the_page_and_are_never_asked(browser: Browser, site: Site) -> None:
    page = await browser.open(site.url)
    await page.wait_for(ROLES_LOADED)
    printed = "document.querySelector('.local:last-child')?.textContent ?? ''"
    for command, words in (
        ("help", "gpt chat [-r role]"),
        ("gpt role", "translator"),
        ("shortcut", "Ctrl+C"),
        ("gpt image a cat", "not offered"),
        ("gpt role sql", "The role is sql."),
        ('gpt diy -k pirate -n "A pirate" -d "Say arr."', "kept in this browser"),
    ):
        await ask(page, command)
        await page.wait_for(f"({printed}).includes({json.dumps(words)})")
    assert site.asked == []
    await ask(page, "clear")
    await page.wait_for("document.getElementById('welcome').checkVisibility()")
    await ask(page, "help me with this")
    await shows(page, ANSWERS, ["You said: help me with this"])
    sent = [message["content"] for message in site.upstream.calls[0].body["messages"]]
    assert sent == ["Say arr.", "help me with this"]
    await shows(page, QUESTIONS, ["help me with this"])
    await ask(page, "gpt chat -r sql -t 0.5 all users")
    await shows(page, QUESTIONS, ["help me with this", "all users"])
    await shows(page, ANSWERS, ["You said: help me with this", "You said: all users"])
    assert site.upstream.calls[1].body["temperature"] == 0.5


async def test_tab_completes_a_command_and_a_hint_says_what_enter_runs(
    browser: Browser, site: Site
) -> None:
    page = await browser.open(site.url)
    await page.wait_for(ROLES_LOADED)
    await page.evaluate(f"{BOX}.focus()")
    await page.type("gpt ro")
    await page.wait_for("document.querySelectorAll('#completions [role=option]').length === 1")
    await page.press("Tab", 9)
    assert await page.evaluate(f"{BOX}.value") == "gpt role "
    await page.type("s")
    await page.press("ArrowDown", 40)
    assert await page.evaluate(f"{BOX}.getAttribute('aria-activedescendant')") == "completion-0"
    await page.press("Tab", 9)
    assert await page.evaluate(f"{BOX}.value") == "gpt role sql"
    assert await page.evaluate("document.getElementById('hint').textContent") == (
        "Enter runs gpt role"
    )
    assert await page.evaluate(FOCUSED) == "message"


async def test_enter_while_an_input_method_composes_sends_nothing(
    browser: Browser, site: Site
) -> None:
    page = await browser.open(site.url)
    await page.evaluate(f"{BOX}.focus()")
    await page.command("Input.imeSetComposition", text="ni", selectionStart=2, selectionEnd=2)
    await page.command(
        "Input.dispatchKeyEvent", type="rawKeyDown", key="Process", windowsVirtualKeyCode=229
    )
    await page.evaluate(
        f"{BOX}.dispatchEvent(new KeyboardEvent('keydown', {{key: 'Enter', isComposing: true, "
        "bubbles: true, cancelable: true}))"
    )
    await page.type("你好")
    assert await page.evaluate(f"{BOX}.value") == "你好"
    assert await page.evaluate(QUESTIONS) == []
    await page.press("Enter", 13)
    await shows(page, ANSWERS, ["You said: 你好"])


async def test_on_a_phone_enter_breaks_the_line_and_send_sends(
    browser: Browser, site: Site
) -> None:
    page = await browser.open(site.url, width=320, height=600)
    assert await page.evaluate("matchMedia('(hover: none) and (pointer: coarse)').matches")
    await page.evaluate(f"{BOX}.focus()")
    await page.type("one")
    await page.press("Enter", 13)
    await page.type("two")
    await click(page, "#send")
    await shows(page, QUESTIONS, ["one\ntwo"])
    await ask(page, "help")
    assert await page.evaluate(f"{FEED}.scrollWidth - {FEED}.clientWidth") == 0
    small = (
        "[...document.querySelectorAll('button, a, select, textarea')].filter((one) => "
        "one.checkVisibility() && one.getBoundingClientRect().height < 44).map((one) => "
        "one.id || one.textContent)"
    )
    assert await page.evaluate(small) == []


async def test_forced_colours_keep_the_bubble_and_the_caret(browser: Browser, site: Site) -> None:
    _, site.answers["Hi?"] = waiting("so far")
    page = await browser.open(site.url)
    forced = {"name": "forced-colors", "value": "active"}
    await page.command("Emulation.setEmulatedMedia", features=[forced])
    await ask(page, "Hi?")
    await shows(page, ANSWERS, ["so far"])
    caret = "getComputedStyle(document.querySelector('.answer .tip'), '::after').backgroundColor"
    border = "getComputedStyle(document.querySelector('.question')).borderTopColor"
    paper = await page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert await page.evaluate(caret) != paper
    assert await page.evaluate(border) != paper


async def test_axe_finds_nothing_in_light_dark_with_lists_and_with_the_dialog(
    browser: Browser, site: Site, tmp_path: Path
) -> None:
    axe = (installed(tmp_path, "axe") / "node_modules/axe-core/axe.min.js").read_text()
    site.answers["Long?"] = answer(LINES)
    for dark in (False, True):
        page = await browser.open(site.url, dark=dark)
        await page.wait_for(ROLES_LOADED)
        await page.evaluate(axe)
        assert await findings(page) == []
        await ask(page, "Long?")
        await shows(page, ANSWERS, [LINES])
        await ask(page, "help")
        await choose_role(page, "teacher")
        await page.type("gpt ")
        await page.wait_for("!document.getElementById('completions').hidden")
        assert await findings(page) == []
        await page.evaluate("document.getElementById('door').showModal()")
        assert await findings(page) == []


async def findings(page: Page) -> list[str]:
    """What axe-core says of the page that is moderate or worse."""
    found = await page.evaluate(
        "axe.run().then(({violations}) => violations.map(({id, impact, nodes}) => "
        "[impact, `${id}: ${nodes.map((node) => node.html).join(' ')}`]))"
    )
    return [words for impact, words in found if impact in SEVERE]
