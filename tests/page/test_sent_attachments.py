"""Attachments after they were sent: refused, edited, asked again, and read at the start."""

import base64

import pytest

from tests.page.looking import ANSWERS, BOX, QUESTIONS, ask, click, shows
from tests.page.site import Site, running_site
from tests.page.test_actions import button
from tests.page.test_attachments import PENDING, PICTURES, PROBLEM, READ, opened, sent
from tests.support.browser import Browser
from tests.support.upstream import ScriptedUpstream
from tests.support.wait import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

FINISHED = "!document.querySelector('[aria-busy=true]')"


async def test_an_edited_question_and_another_answer_keep_the_attachments(
    browser: Browser, site: Site
) -> None:
    page = await opened(browser, site.url)
    await page.evaluate(
        "picture('cat.png', 40, 20).then((file) => { paste(file, textFile('a.txt', 'one')) })"
    )
    await page.wait_for(f"{PENDING}.length === 2 && {READ}")
    await ask(page, "What is this?")
    await page.wait_for(f"({ANSWERS})[0] && {FINISHED}")
    first = sent(site)
    assert [part["type"] for part in first] == ["text", "image_url", "text"]
    await click(page, button(1, "Regenerate answer"))
    await page.wait_for("document.querySelector('.branches')?.textContent === '2 / 2'")
    await page.wait_for(f"({ANSWERS})[0] && {FINISHED}")
    assert sent(site) == first
    await click(page, button(1, "Edit question"))
    await page.evaluate("document.activeElement.select()")
    await page.type("And who?")
    await page.press("Enter", 13)
    await shows(page, QUESTIONS, ["And who?"])
    await shows(page, PICTURES, [40])
    await page.wait_for(f"({ANSWERS})[0] && {FINISHED}")
    assert sent(site) == [{"type": "text", "text": "And who?"}, *first[1:]]


async def test_a_server_with_a_smaller_limit_is_named_and_the_files_stay(
    browser: Browser, redis_url: str, upstream: ScriptedUpstream
) -> None:
    async with running_site(redis_url, upstream, max_body_bytes=512 * 1024) as site:
        page = await opened(browser, site.url)
        await page.evaluate("paste(textFile('a.txt', 'x'.repeat(2 ** 20 * 3)))")
        await page.wait_for(f"{PENDING}.length === 1 && {READ}")
        await page.evaluate(f"{BOX}.focus()")
        await page.type("Hi?")
        await page.press("Enter", 13)
        words = "The question and its attachments are too large for this server, which takes 512 KB"
        await shows(page, PROBLEM, f"{words} at most.")
        await shows(page, PENDING, ["a.txt"])
        assert await page.evaluate(f"{BOX}.value") == "Hi?"
        await click(page, '[aria-label="Remove a.txt"]')
        await click(page, "#send")
        await shows(page, ANSWERS, ["You said: Hi?"])


async def test_a_page_that_is_opened_reads_each_earlier_picture_once(
    browser: Browser, site: Site
) -> None:
    pictures = [base64.b64encode(f"picture {n}".encode() * 9).decode() for n in range(4)]
    for data in pictures:
        url = f"data:image/png;base64,{data}"
        picture = {"type": "image_url", "image_url": {"url": url}}
        content = [{"type": "text", "text": "What is this?"}, picture]
        body = {"messages": [{"role": "user", "content": content}], "conversation_id": "c"}
        assert (await site.api.client.post("/chat", json=body)).status_code == 202
    await wait_until(lambda: len(site.asked) == len(pictures), description="all to be answered")
    site.proxy.carried = bytearray()
    page = await browser.open(f"{site.url}?c=c")
    await shows(page, f"({ANSWERS}).filter(Boolean).length", len(pictures))
    await shows(page, "document.getElementById('title').textContent", "What is this?")
    # The answer repeats a picture as well, in other quotation marks.
    assert [site.proxy.carried.count(f'{data}"'.encode()) for data in pictures[:-1]] == [1, 1, 1]
