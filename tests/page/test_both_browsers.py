"""What the page must do in Chromium and in Firefox alike.

A test stays here if it needs nothing but `AnyPage`. A page's exceptions, errors on its console and
violations of its content security policy fail the test in both.
"""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.page.looking import (
    ANNOUNCED,
    ANSWERS,
    BOX,
    FEED,
    FOCUSED,
    GAP,
    LAST,
    LINES,
    NOTES,
    QUESTIONS,
    RAW,
    REFUSED,
    STATUS,
    ask,
    click,
    shows,
    waiting,
)
from tests.page.markdown_samples import ATTACKS
from tests.page.site import Site, running_site
from tests.support.any_browser import AnyBrowser
from tests.support.browser import connect
from tests.support.firefox import connect_firefox
from tests.support.script import Finish, Text, Wait, answer
from tests.support.upstream import ScriptedUpstream
from tests.support.wait import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


@pytest.fixture(params=["chromium", "firefox"])
async def browser(request: pytest.FixtureRequest) -> AsyncIterator[AnyBrowser]:
    """Each browser in turn."""
    address = request.getfixturevalue(request.param)
    connecting = connect if request.param == "chromium" else connect_firefox
    async with connecting(address) as running:
        yield running
        assert [problem for page in running.pages for problem in page.problems] == []


async def test_a_question_is_answered_as_it_is_typed(browser: AnyBrowser, site: Site) -> None:
    rest = asyncio.Event()
    site.answers["Hi?"] = [Text("Hel"), Text("lo, "), Wait(rest), Text("world."), Finish()]
    page = await browser.open(site.url)
    await ask(page, "Hi?")
    await shows(page, ANSWERS, ["Hello, "])
    assert await page.evaluate("document.querySelector('.answer').ariaBusy") == "true"
    rest.set()
    await shows(page, ANSWERS, ["Hello, world."])
    await page.wait_for("document.querySelector('.answer').ariaBusy === 'false'")
    assert await page.evaluate(QUESTIONS) == ["Hi?"]


async def test_two_browsers_on_one_link_see_both_questions_and_both_answers(
    browser: AnyBrowser, site: Site
) -> None:
    first = await browser.open(site.url)
    second = await browser.open(await first.evaluate("location.href"))
    await ask(first, "One?")
    await shows(second, ANSWERS, ["You said: One?"])
    await ask(second, "Two?")
    for page in (first, second):
        await shows(page, ANSWERS, ["You said: One?", "You said: Two?"])
        await shows(page, QUESTIONS, ["One?", "Two?"])


async def test_a_reload_in_the_middle_of_an_answer_misses_nothing(
    browser: AnyBrowser, site: Site
) -> None:
    rest = asyncio.Event()
    site.answers["Hi?"] = [Text("before "), Wait(rest), Text("after"), Finish()]
    page = await browser.open(site.url)
    await ask(page, "Hi?")
    await shows(page, ANSWERS, ["before "])
    await page.reload()
    await shows(page, ANSWERS, ["before "])
    rest.set()
    await shows(page, ANSWERS, ["before after"])
    assert await page.evaluate(QUESTIONS) == ["Hi?"]
    assert site.asked == ["Hi?"]


async def test_stop_in_another_browser_ends_the_upstream_call_and_keeps_the_text(
    browser: AnyBrowser, site: Site
) -> None:
    site.answers["Hi?"] = [Text("so far"), Wait(asyncio.Event()), Finish()]
    first = await browser.open(site.url)
    await ask(first, "Hi?")
    await shows(first, ANSWERS, ["so far"])
    second = await browser.open(await first.evaluate("location.href"))
    await click(second, "#stop")
    for page in (first, second):
        await shows(page, NOTES, ["Stopped."])
        await shows(page, ANSWERS, ["so far"])
        await page.wait_for("document.getElementById('stop').hidden")
    await wait_until(
        lambda: site.upstream.calls[0].outcome == "closed", description="the upstream call to end"
    )


async def test_a_stream_that_a_proxy_refuses_heals_and_misses_nothing(
    browser: AnyBrowser, site: Site
) -> None:
    rest = asyncio.Event()
    site.answers["Hi?"] = [Text("before "), Wait(rest), Text("after"), Finish()]
    page = await browser.open(site.url)
    await ask(page, "Hi?")
    await shows(page, ANSWERS, ["before "])
    site.refused_streams = 2
    site.proxy.reset_all()
    await page.wait_for(f"{STATUS}.startsWith('Connection lost')")
    rest.set()
    await shows(page, ANSWERS, ["before after"])
    assert site.refused_streams == 0
    await shows(page, STATUS, "")


async def test_enter_sends_and_shift_enter_starts_a_line(browser: AnyBrowser, site: Site) -> None:
    page = await browser.open(site.url)
    await page.press("Enter", 13)
    await page.type("one")
    await page.press("Enter", 13, shift=True)
    await page.type("two")
    await page.press("Enter", 13)
    await shows(page, QUESTIONS, ["one\ntwo"])
    await shows(page, ANSWERS, ["You said: one\ntwo"])


async def test_a_connection_that_dies_in_silence_is_made_again_behind_the_last_event(
    browser: AnyBrowser, redis_url: str, upstream: ScriptedUpstream
) -> None:
    rest = asyncio.Event()
    async with running_site(redis_url, upstream, heartbeat_s=0.4) as site:
        site.answers["Hi?"] = [Text("before "), Wait(rest), Text("after"), Finish()]
        page = await browser.open(site.url)
        await ask(page, "Hi?")
        await shows(page, ANSWERS, ["before "])
        site.proxy.is_blackhole = True
        await page.wait_for(f"{STATUS}.startsWith('Connection lost')")
        rest.set()
        # A connection that lost bytes stays dead, so only a new one brings the rest.
        site.proxy.is_blackhole = False
        await shows(page, ANSWERS, ["before after"])


async def test_sixty_gentle_wheel_steps_leave_the_end_of_a_streaming_answer(
    browser: AnyBrowser, site: Site
) -> None:
    steps = [asyncio.Event() for _ in range(60)]
    more = [part for step in steps for part in (Wait(step), Text("more\n"))]
    site.answers["Hi?"] = [Text(LINES), *more, Finish()]
    page = await browser.open(site.url)
    await ask(page, "Hi?")
    await shows(page, ANSWERS, [LINES])
    await shows(page, GAP, 0)
    for number, step in enumerate(steps, 1):
        await page.wheel(500, 300, -6)
        step.set()
        await shows(page, ANSWERS, [LINES + "more\n" * number])
    assert await page.evaluate(GAP) > 60 * 6
    assert not await page.evaluate("document.getElementById('latest').hidden")


async def test_the_history_scrolls_by_keys_and_reaching_the_end_follows_again(
    browser: AnyBrowser, site: Site
) -> None:
    rest, site.answers["Hi?"] = waiting(LINES, LINES)
    page = await browser.open(site.url)
    await ask(page, "Hi?")
    await shows(page, ANSWERS, [LINES])
    await page.evaluate(f"{FEED}.focus()")
    await page.press("PageUp", 33)
    await page.wait_for(f"{GAP} > 100")
    await page.press("Home", 36)
    await shows(page, f"{FEED}.scrollTop", 0)
    await page.press("End", 35)
    await shows(page, GAP, 0)
    rest.set()
    await shows(page, ANSWERS, [LINES * 2])
    await shows(page, GAP, 0)


@pytest.mark.parametrize(
    ("key", "code", "ctrl"), [("Escape", 27, False), ("c", 67, True)], ids=["esc", "ctrl-c"]
)
async def test_a_key_stops_the_answer_and_the_focus_stays(
    browser: AnyBrowser, site: Site, key: str, code: int, *, ctrl: bool
) -> None:
    _, site.answers["Hi?"] = waiting("so far")
    page = await browser.open(site.url)
    await ask(page, "Hi?")
    await shows(page, ANSWERS, ["so far"])
    await page.press(key, code, ctrl=ctrl)
    await shows(page, NOTES, ["Stopped."])
    assert await page.evaluate(FOCUSED) == "message"
    await shows(page, ANNOUNCED, "Answer stopped, 2 words.")


async def test_hostile_answers_stay_inert(browser: AnyBrowser, site: Site) -> None:
    page = await browser.open(site.url)
    await page.evaluate(
        "window.violations = []; addEventListener('securitypolicyviolation', (event) =>"
        " violations.push(`${event.violatedDirective} ${event.sample}`));"
        "window.alert = window.confirm = window.prompt = () => { window.owned = 1 }"
    )
    for number, attack in enumerate(ATTACKS):
        site.answers[f"{number}?"] = answer(attack)
        await ask(page, f"{number}?")
        await shows(page, RAW, attack)
        await page.wait_for(
            f"{LAST}.closest('.answer').dataset.status === 'completed' && "
            f"!{LAST}.querySelector('.plain')"
        )
        # A reader clicks on everything.
        await page.evaluate(
            f"{LAST}.querySelectorAll('a, button, input').forEach((one) => "
            "{ one.addEventListener('click', (event) => { if (one.href) event.preventDefault() });"
            " one.click() })"
        )
        assert await page.evaluate(REFUSED) == [], attack
    assert await page.evaluate("document.querySelectorAll('.answer math').length") > 5
    assert await page.evaluate("window.owned ?? null") is None
    assert await page.evaluate("violations") == []
    assert (
        await page.evaluate(
            "performance.getEntriesByType('resource').filter(({name}) => "
            "!name.startsWith(location.origin) && !name.startsWith('data:')).length"
        )
        == 0
    )
    assert await page.evaluate("document.getElementById('feed').tagName") == "MAIN"
    # What the test would see of a style.
    await page.evaluate("document.body.setAttribute('style', 'color: red')")
    await page.wait_for("violations.length === 1")
    await wait_until(lambda: page.problems, description="the browser to report the violation")
    page.problems.clear()


async def test_a_box_that_grows_leaves_the_end_of_the_answer_in_view(
    browser: AnyBrowser, site: Site
) -> None:
    _, site.answers["Hi?"] = waiting(LINES)
    page = await browser.open(site.url)
    await ask(page, "Hi?")
    await shows(page, ANSWERS, [LINES])
    await page.evaluate(f"{BOX}.focus()")
    for _ in range(4):
        await page.type("a line")
        await page.press("Enter", 13, shift=True)
    await shows(page, GAP, 0)
    assert await page.evaluate("document.getElementById('latest').hidden")
