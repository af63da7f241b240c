"""The tabs of one browser share one connection to the server."""

import asyncio
import signal
import time
from itertools import cycle, islice

import pytest

from tests.page.looking import ANSWERS, STATUS, ask, shows
from tests.page.site import Site, running_site
from tests.support.browser import Browser, Page
from tests.support.deployment import MakeDeployment, port_of
from tests.support.firefox import connect_firefox
from tests.support.script import Finish, Text, Wait
from tests.support.upstream import ScriptedUpstream
from tests.support.wait import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

CUT_S = 5


async def tabs(browser: Browser, url: str, conversations: list[str]) -> list[Page]:
    """The tabs of a browser that is opened for this, each with its conversation."""
    opened: list[Page] = []
    for name in conversations:
        beside = opened[0] if opened else None
        opened.append(await browser.open(f"{url}?c={name}", beside=beside))
    return opened


async def streams(site: Site, count: int) -> None:
    """Wait until the server has this many open streams."""
    open_streams = site.api.services.streams
    await wait_until(
        lambda: open_streams.open_streams == count,
        timeout_s=50,
        description=f"{count} open streams",
    )


async def conversations_read(site: Site, count: int) -> None:
    """Wait until so many conversations are read, each counted once for each stream."""
    watchers = site.api.services.streams.watchers
    await wait_until(
        lambda: watchers.readers == count,
        timeout_s=50,
        description=f"{count} conversations to be read",
    )


async def test_twelve_tabs_with_eight_conversations_have_one_connection(
    browser: Browser, site: Site
) -> None:
    names = [f"c{number}" for number in range(8)]
    opened = await tabs(browser, site.url, list(islice(cycle(names), 12)))
    await streams(site, 1)
    await conversations_read(site, 8)
    rest = asyncio.Event()
    for name in names:
        site.answers[f"{name}?"] = [
            Text(f"begin-{name} "),
            Wait(rest),
            Text(f"end-{name}"),
            Finish(),
        ]
    site.proxy.carried = bytearray()
    opened_before = site.streams_opened
    for name, page in zip(names, opened, strict=False):
        await ask(page, f"{name}?")
    for name, page in zip(cycle(names), opened, strict=False):
        await shows(page, ANSWERS, [f"begin-{name} "])
    assert site.api.services.streams.open_streams == 1
    assert site.streams_opened == opened_before
    # All conversations stream, and a tab can still submit.
    await ask(opened[11], "One more?")
    rest.set()
    for name, page in zip(cycle(names), opened, strict=False):
        more = ["You said: One more?"] if name == "c3" else []
        await shows(page, ANSWERS, [f"begin-{name} end-{name}", *more])
    assert site.api.services.streams.open_streams == 1
    for name in names:
        assert site.proxy.carried.count(f'"begin-{name} "'.encode()) == 1
        assert site.proxy.carried.count(f'"end-{name}"'.encode()) == 1


async def test_a_tab_that_joins_late_has_the_same_text_without_another_transfer(
    browser: Browser, site: Site
) -> None:
    rest = asyncio.Event()
    site.answers["Hi?"] = [Text("one "), Text("two "), Wait(rest), Text("three"), Finish()]
    [first] = await tabs(browser, site.url, ["c"])
    await ask(first, "Hi?")
    await shows(first, ANSWERS, ["one two "])
    site.proxy.carried = bytearray()
    late = await browser.open(f"{site.url}?c=c", beside=first)
    await shows(late, ANSWERS, ["one two "])
    await first.reload()
    await shows(first, ANSWERS, ["one two "])
    rest.set()
    for page in (first, late):
        await shows(page, ANSWERS, ["one two three"])
    assert site.proxy.carried.count(b'"one ') == 0
    assert site.proxy.carried.count(b'"three"') == 1


async def test_two_browsers_have_a_connection_each(browser: Browser, site: Site) -> None:
    [one] = await tabs(browser, site.url, ["c"])
    [other] = await tabs(browser, site.url, ["c"])
    await streams(site, 2)
    await ask(one, "Hi?")
    await shows(other, ANSWERS, ["You said: Hi?"])


async def test_closed_and_crashed_tabs_do_not_keep_a_conversation_open(
    browser: Browser, site: Site
) -> None:
    stays, closes, crashes = await tabs(browser, site.url, ["stays", "closes", "crashes"])
    await conversations_read(site, 3)
    await closes.close()
    await conversations_read(site, 2)
    await crashes.crash()
    await conversations_read(site, 1)
    await streams(site, 1)
    await ask(stays, "Hi?")
    await shows(stays, ANSWERS, ["You said: Hi?"])
    await stays.close()
    await streams(site, 0)


async def test_a_broken_connection_is_made_again_for_all_tabs(
    browser: Browser, redis_url: str, upstream: ScriptedUpstream
) -> None:
    async with running_site(redis_url, upstream, heartbeat_s=0.4) as site:
        opened = await tabs(browser, site.url, ["a", "b", "a"])
        waits = {name: [asyncio.Event(), asyncio.Event()] for name in "ab"}
        for name, (reset, silence) in waits.items():
            site.answers[f"{name}?"] = [
                Text("one "), Wait(reset), Text("two "), Wait(silence), Text("three"), Finish(),
            ]  # fmt: skip
        for name, page in zip("ab", opened, strict=False):
            await ask(page, f"{name}?")
        for page in opened:
            await shows(page, ANSWERS, ["one "])
        site.refused_streams = 2
        site.proxy.reset_all()
        for page in opened:
            await page.wait_for(f"{STATUS}.startsWith('Connection lost')")
        for reset, _ in waits.values():
            reset.set()
        for page in opened:
            await shows(page, ANSWERS, ["one two "])
            await shows(page, STATUS, "")
        site.proxy.is_blackhole = True
        for page in opened:
            await page.wait_for(f"{STATUS}.startsWith('Connection lost')")
        for _, silence in waits.values():
            silence.set()
        site.proxy.is_blackhole = False
        for page in opened:
            await shows(page, ANSWERS, ["one two three"])


@pytest.mark.parametrize(
    "number", [pytest.param(signal.SIGTERM, marks=pytest.mark.long), signal.SIGKILL]
)
async def test_an_api_that_starts_again_in_mid_answer_costs_no_tab_any_text(
    browser: Browser,
    make_deployment: MakeDeployment,
    upstream: ScriptedUpstream,
    number: signal.Signals,
) -> None:
    deployment = make_deployment()
    api, url = await deployment.running_api()
    deployment.start_worker()
    rest = asyncio.Event()
    upstream.script = [Text("one "), Wait(rest), Text("two"), Finish()]
    opened = await tabs(browser, f"{url}/", ["a", "b", "a"])
    for page in opened[:2]:
        await ask(page, "Hi?")
    for page in opened:
        await shows(page, ANSWERS, ["one "])
    api.signal(number)
    await api.ended()
    for page in opened:
        await page.wait_for(f"{STATUS}.startsWith('Connection lost')")
    rest.set()
    await deployment.running_api(port_of(url))
    for page in opened:
        # The wait before a try is up to half a minute after an API that was away for long.
        await shows(page, ANSWERS, ["one two"], timeout_s=50)
        await shows(page, STATUS, "")
    await ask(opened[2], "More?")
    for page, count in zip(opened, (2, 1, 2), strict=True):
        await shows(page, ANSWERS, ["one two"] * count)


async def test_a_network_that_is_cut_for_five_seconds_costs_no_text_and_repeats_none(
    browser: Browser, redis_url: str, upstream: ScriptedUpstream
) -> None:
    async with running_site(redis_url, upstream, heartbeat_s=1) as site:
        rest = asyncio.Event()
        site.answers["Hi?"] = [Text("one "), Wait(rest), Text("two"), Finish()]
        opened = await tabs(browser, site.url, ["c", "c"])
        await ask(opened[0], "Hi?")
        for page in opened:
            await shows(page, ANSWERS, ["one "])
        site.proxy.carried = bytearray()
        site.proxy.is_blackhole = True
        ends_at = time.monotonic() + CUT_S
        rest.set()
        for page in opened:
            await page.wait_for(f"{STATUS}.startsWith('Connection lost')")
        await wait_until(lambda: time.monotonic() > ends_at, description="the cut to end")
        site.proxy.is_blackhole = False
        # The server's side answers what is sent again over a connection that it has lost.
        site.proxy.reset_all()
        for page in opened:
            await shows(page, ANSWERS, ["one two"])
            await shows(page, STATUS, "")
        assert site.proxy.carried.count(b'"one "') == 0
        assert site.proxy.carried.count(b'"two"') == 1


async def test_the_back_button_shows_what_was_written_while_another_page_was_shown(
    browser: Browser, site: Site
) -> None:
    rest = asyncio.Event()
    site.answers["Hi?"] = [Text("one "), Wait(rest), Text("two"), Finish()]
    [page] = await tabs(browser, site.url, ["c"])
    await ask(page, "Hi?")
    await shows(page, ANSWERS, ["one "])
    await page.go(f"{site.url}status")
    rest.set()
    await page.evaluate("history.back()")
    await page.wait_for("document.getElementById('feed') !== null")
    await shows(page, ANSWERS, ["one two"])
    await ask(page, "More?")
    await shows(page, ANSWERS, ["one two", "You said: More?"])
    await streams(site, 1)


async def test_two_tabs_of_firefox_have_one_connection(firefox: str, site: Site) -> None:
    rest = asyncio.Event()
    site.answers["Hi?"] = [Text("one "), Wait(rest), Text("two"), Finish()]
    async with connect_firefox(firefox) as browser:
        first = await browser.open(f"{site.url}?c=c")
        second = await browser.open(f"{site.url}?c=c", beside=first)
        await ask(first, "Hi?")
        for page in (first, second):
            await shows(page, ANSWERS, ["one "])
        await streams(site, 1)
        rest.set()
        for page in (first, second):
            await shows(page, ANSWERS, ["one two"])
        assert [problem for page in browser.pages for problem in page.problems] == []


async def test_each_tab_asks_for_its_key_and_reads_with_no_other(
    browser: Browser, redis_url: str, upstream: ScriptedUpstream
) -> None:
    keys, headers = (
        "ada:the-key-of-ada-01,bob:the-key-of-bob-01",
        {"Authorization": "Bearer the-key-of-ada-01"},
    )
    async with running_site(redis_url, upstream, api_keys=keys, headers=headers) as site:
        opened = await tabs(browser, site.url, ["c", "c", "c"])
        for page, key in zip(
            opened, ("the-key-of-ada-01", "the-key-of-ada-01", "the-key-of-bob-01"), strict=True
        ):
            await page.wait_for("document.getElementById('door').open")
            await page.evaluate("document.getElementById('key').focus()")
            await page.type(key)
            await page.press("Enter", 13)
            await page.wait_for("document.getElementById('role').options.length > 1")
        await streams(site, 2)
        await ask(opened[0], "Of Ada?")
        await shows(opened[1], ANSWERS, ["You said: Of Ada?"])
        await ask(opened[2], "Of Bob?")
        await shows(opened[2], ANSWERS, ["You said: Of Bob?"])
        assert await opened[0].evaluate(ANSWERS) == ["You said: Of Ada?"]


async def test_a_conversation_that_the_server_refuses_leaves_the_other_tabs_alone(
    browser: Browser, site: Site
) -> None:
    # `POST /streams` accepts ids of at most 200 characters, and a stream of one any.
    good, long = await tabs(browser, site.url, ["good", "x" * 201])
    await streams(site, 2)
    for page in (good, long):
        await shows(page, STATUS, "")
    await ask(good, "Hi?")
    await shows(good, ANSWERS, ["You said: Hi?"])


async def test_where_the_worker_does_not_start_each_tab_reads_for_itself(
    browser: Browser, site: Site
) -> None:
    script = "delete window.SharedWorker"
    [first] = await tabs(browser, site.url, ["c"])
    await first.command("Page.addScriptToEvaluateOnNewDocument", source=script)
    await first.reload()
    await ask(first, "Hi?")
    await shows(first, ANSWERS, ["You said: Hi?"])
