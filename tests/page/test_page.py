"""The page in a real browser, with a real API, worker and Redis behind it."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from itertools import chain, repeat

import pytest

import tickertape
from tests.page.looking import ANSWERS, BOX, NOTES, QUESTIONS, STATUS, STEPS, ask, click, shows
from tests.page.site import Site, running_site
from tests.support.browser import Browser
from tests.support.script import Cut, Finish, Script, Text, Wait, answer
from tests.support.upstream import ScriptedUpstream

pytestmark = pytest.mark.slow


async def test_a_question_asked_during_an_answer_waits_its_turn_and_can_be_taken_back(
    browser: Browser, site: Site
) -> None:
    rest = asyncio.Event()
    site.answers["One?"] = [Text("one"), Wait(rest), Finish()]
    page = await browser.open(site.url)
    for question in ("One?", "Two?", "Three?"):
        await ask(page, question)
    await shows(page, NOTES, ["", "Waiting its turn.", "Waiting its turn."])
    await page.reload()
    await shows(page, QUESTIONS, ["One?", "Two?", "Three?"])
    await click(page, "li:nth-child(2) .cancel")
    await shows(page, NOTES, ["", "Stopped.", "Waiting its turn."])
    rest.set()
    await shows(page, ANSWERS, ["one", "", "You said: Three?"])
    assert site.asked == ["One?", "Three?"]


async def test_markup_in_questions_and_answers_is_text(browser: Browser, site: Site) -> None:
    markup = "<img src=x onerror=\"document.title='owned'\"><b>bold</b><script>1</script>"
    site.answers[markup] = answer(markup)
    page = await browser.open(site.url)
    await ask(page, markup)
    await shows(page, ANSWERS, [markup])
    await shows(page, QUESTIONS, [markup])
    assert (
        await page.evaluate("document.querySelectorAll('#requests :is(img, b, script)').length")
        == 0
    )
    assert await page.evaluate("document.title") != "owned"


async def test_the_tools_and_the_data_of_a_function_are_text_and_a_long_one_opens(
    browser: Browser, site: Site
) -> None:
    markup = "<img src=x onerror=\"document.title='owned'\">"
    site.values["Hi?"] = [
        tickertape.ToolCall("find", {"n": markup}),
        tickertape.ToolResult({"rows": ["x" * 100, markup]}),
        tickertape.ToolCall("pay"),
        tickertape.ToolResult(markup, is_error=True),
        tickertape.Data("table", [1, markup]),
        "Done.",
    ]
    await site.knows_agent()
    page = await browser.open(f"{site.url}?model=agent")
    await ask(page, "Hi?")
    await shows(page, ANSWERS, ["Done."])
    await shows(page, STEPS, [
        'find({"n":' + json.dumps(markup) + "})",
        'Result: {"rows":["' + "x" * 70 + "…",
        "pay({})",
        f"Failed: {markup}",
        f"table: [1,{json.dumps(markup)}]",
    ])  # fmt: skip
    await click(page, ".calls summary")
    whole = json.dumps({"rows": ["x" * 100, markup]}, indent=2)
    await shows(page, "document.querySelector('.calls pre').textContent", whole)
    assert await page.evaluate("document.querySelectorAll('#requests img').length") == 0


async def test_a_question_whose_reply_is_lost_is_asked_once(browser: Browser, site: Site) -> None:
    page = await browser.open(site.url)
    lost = site.proxy.lose_reply_to(b"POST /chat ")
    await ask(page, "Hi?")
    assert lost.is_set()
    await shows(page, ANSWERS, ["You said: Hi?"])
    assert site.asked == ["Hi?"]
    assert await page.evaluate("document.getElementById('problem').hidden")


async def test_an_answer_that_broke_off_starts_over_and_the_page_notes_it(
    browser: Browser, site: Site
) -> None:
    rest = asyncio.Event()
    whole: Script = [Text("wh"), Wait(rest), Text("ole"), Finish()]
    attempts: Iterator[Script] = chain([[Text("bro"), Cut()]], repeat(whole))
    site.answers["Hi?"] = lambda: next(attempts)
    page = await browser.open(site.url)
    await ask(page, "Hi?")
    await shows(page, ANSWERS, ["wh"])
    await shows(page, STATUS, "Interrupted, so it started over.")
    rest.set()
    await shows(page, ANSWERS, ["whole"])


async def test_the_chosen_role_answers_and_shows(browser: Browser, site: Site) -> None:
    page = await browser.open(site.url)
    await page.wait_for("document.getElementById('role').options.length > 1")
    await page.evaluate("document.getElementById('role').value = 'sql'")
    await ask(page, "All users")
    await shows(page, ANSWERS, ["You said: All users"])
    assert await page.evaluate("document.querySelector('.question .role').textContent") == "sql"
    assert site.upstream.calls[0].body["messages"][0]["role"] == "system"


async def test_a_refused_question_stays_in_the_box_and_the_field_is_named(
    browser: Browser, site: Site
) -> None:
    page = await browser.open(site.url)
    await page.wait_for("document.getElementById('role').options.length > 1")
    await page.evaluate(
        "document.getElementById('role').add(new Option('x', 'nobody', true, true))"
    )
    await page.evaluate(f"{BOX}.focus()")
    await page.type("Hi?")
    await page.press("Enter", 13)
    await page.wait_for("!document.getElementById('problem').hidden")
    assert "role" in await page.evaluate("document.getElementById('problem').textContent")
    assert await page.evaluate("document.getElementById('role').ariaInvalid") == "true"
    assert await page.evaluate(f"{BOX}.value") == "Hi?"
    assert await page.evaluate(f"!{BOX}.readOnly")
    assert site.asked == []


@pytest.fixture
async def locked_site(redis_url: str, upstream: ScriptedUpstream) -> AsyncIterator[Site]:
    keys, headers = "someone:the-key-of-someone", {"Authorization": "Bearer the-key-of-someone"}
    async with running_site(redis_url, upstream, api_keys=keys, headers=headers) as running:
        yield running


async def test_a_server_with_keys_is_given_one_that_stays_in_the_tab(
    browser: Browser, locked_site: Site
) -> None:
    page = await browser.open(locked_site.url)
    for key, is_second in (("wrong", False), ("the-key-of-someone", True)):
        await page.wait_for("document.getElementById('door').open")
        refused = await page.evaluate("document.getElementById('refused').checkVisibility()")
        assert refused is is_second
        await page.evaluate("document.getElementById('key').focus()")
        await page.type(key)
        await page.press("Enter", 13)
    await page.wait_for("document.getElementById('role').options.length > 1")
    await ask(page, "Hi?")
    await shows(page, ANSWERS, ["You said: Hi?"])
    await page.reload()
    await shows(page, ANSWERS, ["You said: Hi?"])
    assert "key" not in await page.evaluate("location.href + document.cookie")
    assert await page.evaluate("localStorage.length") == 0
    stranger = await browser.open(await page.evaluate("location.href"))
    await stranger.wait_for("document.getElementById('door').open")
    assert await stranger.evaluate(ANSWERS) == []


async def test_a_new_conversation_is_empty_and_has_a_link_of_its_own(
    browser: Browser, site: Site
) -> None:
    page = await browser.open(site.url)
    first = await page.evaluate("location.href")
    await ask(page, "Hi?")
    await shows(page, ANSWERS, ["You said: Hi?"])
    await click(page, "a.button")
    await page.wait_for(f"location.href !== '{first}' && location.search.startsWith('?c=')")
    await page.wait_for("document.getElementById('welcome')?.checkVisibility()")
    assert await page.evaluate(QUESTIONS) == []


async def test_a_page_at_the_end_follows_the_answer_and_one_scrolled_up_stays(
    browser: Browser, site: Site
) -> None:
    more, rest = asyncio.Event(), asyncio.Event()
    lines = "".join(f"line {n}\n" for n in range(200))
    site.answers["Hi?"] = [Text(lines), Wait(more), Text(lines), Wait(rest), Text(lines), Finish()]
    page = await browser.open(site.url)
    feed = "document.getElementById('feed')"
    left = f"Math.round({feed}.scrollHeight - {feed}.clientHeight - {feed}.scrollTop)"
    await ask(page, "Hi?")
    await shows(page, ANSWERS, [lines])
    await shows(page, left, 0)
    more.set()
    await shows(page, ANSWERS, [lines * 2])
    await shows(page, left, 0)
    await page.evaluate(f"{feed}.scrollTop = 100")
    await page.wait_for("!document.getElementById('latest').hidden")
    rest.set()
    await shows(page, ANSWERS, [lines * 3])
    assert await page.evaluate(f"{feed}.scrollTop") == 100
    await click(page, "#latest")
    await shows(page, left, 0)


async def test_nothing_is_wider_than_a_phone(browser: Browser, site: Site) -> None:
    site.answers["w" * 300] = answer("x" * 300)
    page = await browser.open(site.url, width=320, height=600)
    await page.wait_for("document.getElementById('role').options.length > 1")
    await ask(page, "w" * 300)
    await shows(page, ANSWERS, ["x" * 300])
    for element in ("document.documentElement", "document.getElementById('feed')"):
        assert await page.evaluate(f"{element}.scrollWidth - {element}.clientWidth") == 0


async def test_every_control_has_a_name_that_can_be_spoken(browser: Browser, site: Site) -> None:
    site.answers["Hi?"] = [Text("so far"), Wait(asyncio.Event()), Finish()]
    page = await browser.open(site.url)
    for question in ("Hi?", "Queued?"):
        await ask(page, question)
    await page.wait_for("document.querySelectorAll('.cancel:not([hidden])').length === 1")
    nodes = (await page.command("Accessibility.getFullAXTree"))["nodes"]
    kinds = {"button", "link", "textbox", "combobox", "list", "navigation"}
    names = {
        (node["role"]["value"], node.get("name", {}).get("value"))
        for node in nodes
        if not node["ignored"] and node["role"]["value"] in kinds
    }
    assert names == {
        ("navigation", "Conversation"),
        ("button", "Conversations"),
        ("button", "Share"),
        ("link", "New conversation"),
        ("list", "Questions and answers"),
        ("button", "Attach files"),
        ("button", "Cancel"),
        ("textbox", "Message"),
        ("combobox", "Role"),
        ("button", "Model: the server’s choice. Temperature: its own."),
        ("button", "Stop"),
        ("button", "Send"),
    }


async def test_stop_shows_before_the_server_answers(browser: Browser, site: Site) -> None:
    site.answers["Hi?"] = [Text("so far"), Wait(asyncio.Event()), Finish()]
    page = await browser.open(site.url)
    await ask(page, "Hi?")
    await shows(page, ANSWERS, ["so far"])
    site.proxy.is_blackhole = True
    await click(page, "#stop")
    await shows(page, NOTES, ["Stopping…"])
    site.proxy.is_blackhole = False
    site.proxy.reset_all()
    await shows(page, NOTES, ["Stopped."])
