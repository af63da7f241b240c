"""Answers as Markdown, in a real browser, under the page's policy."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.page.looking import FEED, LAST, RAW, REFUSED, ask, click, shows, waiting
from tests.page.markdown_samples import RICH
from tests.page.site import Site, running_site, take_assets_away
from tests.support.browser import Browser, Page
from tests.support.node import installed
from tests.support.script import Finish, Script, Text, Wait, answer
from tests.support.upstream import ScriptedUpstream

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

HTML = f"{LAST}.innerHTML"
# Code has its colours, maths its formulas, and nothing waits to be drawn.
IS_DRAWN = f"""
    {LAST}?.querySelectorAll('.hljs-keyword').length === 2 &&
    {LAST}.querySelectorAll('math').length === 3 && !{LAST}.querySelector('.plain, .tip')
"""
TWO_FRAMES = """
    new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))
"""


async def open_with(browser: Browser, site: Site, text: str, **how: object) -> Page:
    """A page whose only question is answered with this text."""
    site.answers["Hi?"] = answer(text)
    page = await browser.open(site.url, **how)  # type: ignore[arg-type]
    await ask(page, "Hi?")
    await page.wait_for("document.querySelector('.answer')?.dataset.status === 'completed'")
    return page


async def test_an_answer_is_drawn_as_markdown_without_a_style(browser: Browser, site: Site) -> None:
    page = await open_with(browser, site, RICH)
    await page.wait_for(IS_DRAWN)
    assert await page.evaluate(RAW) == RICH
    assert await page.evaluate(REFUSED) == []
    for selector, words in {
        "h3.level-1": "Title",
        "h4.level-3": "The end",
        "ul > li > ol > li": "inner",
        "li.task > input[type=checkbox]:checked": "",
        ".table[tabindex] td.align-right": "1",
        "pre code[data-language=python] .hljs-string": '"a"',
        ".code .language": "python",
        "blockquote > p": "quoted",
        "strong": "text",
        "p > a[href='https://example.org/p.png']": "a picture",
    }.items():
        found = await page.evaluate(f'{LAST}.querySelector("{selector}")?.textContent.trim()')
        assert found == words, selector


async def test_a_streamed_answer_keeps_its_blocks_and_ends_as_if_it_came_at_once(
    browser: Browser, site: Site
) -> None:
    steps = [asyncio.Event() for _ in range(2)]
    cut = RICH.index("> quoted")
    pieces: list[Script] = [
        [Text(character) for character in part] for part in (RICH[:cut], RICH[cut:])
    ]
    page = await open_with(browser, site, RICH)
    await page.wait_for(IS_DRAWN)  # with all libraries
    site.answers["Hi?"] = [*pieces[0], Wait(steps[0]), *pieces[1], Wait(steps[1]), Finish()]
    await page.evaluate(_WATCH_HEIGHT)
    await ask(page, "Hi?")
    await page.wait_for("document.querySelectorAll('.answer').length === 2")
    await page.wait_for(f"{LAST}.querySelector('td.align-right')?.textContent === '1'")
    await page.evaluate(
        f"window.cell = {LAST}.querySelector('td'); getSelection().selectAllChildren(cell)"
    )
    steps[0].set()
    await page.wait_for(f"{LAST}.querySelector('h4')?.textContent === 'The end'")
    assert await page.evaluate("cell.isConnected && getSelection().toString()") == "a"
    assert await page.evaluate("document.querySelectorAll('.tip').length") == 1
    steps[1].set()
    await page.wait_for(IS_DRAWN)
    assert await page.evaluate("shrunk") == []
    streamed = await page.evaluate(HTML)
    await page.reload()
    await page.wait_for(IS_DRAWN)
    assert await page.evaluate(HTML) == streamed


# The sizes by which an answer became shorter while it was written, in px.
_WATCH_HEIGHT = """
    window.shrunk = []
    let last = 0
    const look = () => {
      const now = [...document.querySelectorAll('.answer > .text')][1]
        ?.getBoundingClientRect().height ?? 0
      if (now < last - 8) shrunk.push(Math.round(last - now))
      last = now
      requestAnimationFrame(look)
    }
    look()
"""


@pytest.fixture
async def bare_site(
    redis_url: str, upstream: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Site]:
    """A site whose assets were not built."""
    take_assets_away(monkeypatch)
    async with running_site(redis_url, upstream) as running:
        yield running


async def test_without_the_assets_an_answer_is_plain_text(
    browser: Browser, bare_site: Site
) -> None:
    page = await open_with(browser, bare_site, RICH)
    assert await page.evaluate(f"{LAST}.textContent") == RICH
    assert await page.evaluate(f"{LAST}.children.length") == 1


async def test_a_definition_that_comes_last_makes_a_link_of_what_came_first(
    browser: Browser, site: Site
) -> None:
    page = await open_with(
        browser, site, "See [this].\n\nMore.\n\nMore.\n\n[this]: https://example.org\n"
    )
    await page.wait_for(f"{LAST}.querySelector('p > a')?.textContent === 'this'")
    assert await page.evaluate(f"{LAST}.children.length") == 3


async def test_code_that_comes_whole_is_coloured_before_the_answer_goes_on(
    browser: Browser, site: Site
) -> None:
    _, site.answers["Hi?"] = waiting("```python\ndef f():\n    return 1\n```\n\nIt gives")
    page = await browser.open(site.url)
    await ask(page, "Hi?")
    await page.wait_for(f"{LAST}?.querySelectorAll('.hljs-keyword').length === 2")
    assert await page.evaluate(f"{LAST}.querySelector('.tip').textContent") == "It gives"


async def test_code_is_copied_by_its_button(browser: Browser, site: Site) -> None:
    page = await open_with(browser, site, RICH)
    await page.evaluate("navigator.clipboard.writeText = async (text) => { window.copied = text }")
    await page.wait_for(IS_DRAWN)
    await click(page, ".code .copy")
    await shows(page, "document.querySelector('.code .copy').textContent", "Copied")
    assert await page.evaluate("copied") == 'def f(x):\n    return "a" + x  # a comment\n'


async def test_axe_finds_nothing_in_an_answer_in_light_dark_and_on_a_phone(
    browser: Browser, site: Site, tmp_path: Path
) -> None:
    axe = (installed(tmp_path, "axe") / "node_modules/axe-core/axe.min.js").read_text()
    for how in ({}, {"dark": True}, {"width": 320, "height": 600}):
        page = await open_with(
            browser, site, RICH + "| " + "wide " * 60 + "|\n|---|\n" + "x" * 200, **how
        )
        await page.wait_for(IS_DRAWN)
        await page.evaluate(axe)
        found = await page.evaluate(
            "axe.run().then(({violations}) => violations.map(({id, nodes}) => "
            "`${id}: ${nodes.map((node) => node.html).join(' ')}`))"
        )
        assert found == []
        assert await page.evaluate(f"{FEED}.scrollWidth - {FEED}.clientWidth") == 0


async def test_a_long_answer_that_is_there_at_once_is_drawn_whole(
    browser: Browser, site: Site
) -> None:
    text = "".join(f"## Part {n}\n\nSome **words** of it.\n\n" for n in range(2_000))
    page = await open_with(browser, site, text)
    await page.wait_for(
        f"{LAST}.querySelectorAll('strong').length === 2000 && !{LAST}.querySelector('.plain')"
    )
    await page.reload()
    await page.wait_for(
        f"{LAST}?.querySelectorAll('strong').length === 2000 && !{LAST}.querySelector('.plain')"
    )
    assert await page.evaluate(f"{LAST}.children.length") == 4_000


async def test_scrolling_up_through_a_long_conversation_moves_the_text_by_what_was_scrolled(
    browser: Browser, site: Site
) -> None:
    for number in range(12):
        site.answers[f"{number}?"] = answer(RICH * (1 + number % 3))
    page = await browser.open(site.url)
    for number in range(12):
        await ask(page, f"{number}?")
        await page.wait_for(
            f"document.querySelectorAll('.answer[data-status=completed]').length > {number}"
        )
    await page.reload()
    await page.wait_for("document.querySelectorAll('.answer').length === 12")
    await page.wait_for("!document.querySelector('.answer .plain')")
    moved = []
    while await page.evaluate(f"{FEED}.scrollTop") > 0:
        await page.evaluate(
            "window.read = document.elementFromPoint(550, 400);"
            f"window.was = read.getBoundingClientRect().top; {FEED}.scrollTop -= 200"
        )
        await page.evaluate(TWO_FRAMES)
        moved.append(round(await page.evaluate("read.getBoundingClientRect().top - was")))
    assert set(moved[:-1]) <= {199, 200, 201}
