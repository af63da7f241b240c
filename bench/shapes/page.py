"""The page in Chromium: the cost of a minute of Markdown, and the reload of a long conversation."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from itertools import cycle, islice

import httpx2

from bench.box import Box
from bench.report import Bound, Report, Spread, Table
from bench.rounds import Incorrect
from tests.page.site import Site, running_site
from tests.support.browser import Browser, Page, connect, find_chromium, running_chromium
from tests.support.script import Finish, Pause, Script, Text
from tests.support.servers import valkey_server
from tests.support.upstream import ScriptedUpstream
from tickertape.api.page.files import load_page
from tickertape.cli.bench.percentiles import percentile

_DELTAS_PER_S = 100
_STREAM_S = 60
_KEYS_PER_S = 8
_TURNS = 30
_WORDS_PER_TURN = 2_000
_QUESTION = "Go on?"

_SENTENCE = (
    "A paragraph of **some words** with `code`, a [link](https://example.org/a) and *more*, which "
    "goes on until the line is long enough to be broken on any screen that a person may have."
)
_ROWS = "".join(f"| row {n} | {n * 17} | some words about it |\n" for n in range(8))
_CODE = "".join(
    f'def function_{n}(value: int) -> str:\n    return f"{{value}}-{n}"\n\n' for n in range(8)
)
_TEXT = f"""## A part of the answer

{_SENTENCE}

- one thing, with a few words
- another **thing**
  1. inner
  2. inner

| name | number | what it is |
|:-----|-------:|------------|
{_ROWS}
```python
{_CODE}```

> A quotation, over a line or two, so that there is one.

"""

_WATCH = """
    window.seen = {work: [], long_tasks: [], keys: []}
    new PerformanceObserver((list) => {
      for (const {duration} of list.getEntries()) seen.long_tasks.push(duration)
    }).observe({type: 'longtask'})
    const after = (then) => {
      const {port1, port2} = new MessageChannel()
      port1.onmessage = then
      port2.postMessage(0)
    }
    // Only frames that the page asks for: a frame for the measurement's own sake would cost, too.
    const ask = requestAnimationFrame
    window.requestAnimationFrame = (draw) => ask((time) => {
      const from = performance.now()
      after(() => seen.work.push(performance.now() - from))
      draw(time)
    })
    let pressed
    document.addEventListener('keydown', ({timeStamp}) => { pressed = timeStamp }, true)
    // Behind the page's own listeners.
    document.addEventListener('input', () => {
      if (pressed) seen.keys.push(performance.now() - pressed)
      pressed = null
    })
"""
# Times in ms since the navigation: when the newest answer is drawn at the end, and when all are.
_WATCH_RELOAD = """
    window.times = {}
    const look = () => {
      const texts = [...document.querySelectorAll('.answer > .text')]
      const feed = document.getElementById('feed')
      const isDrawn = (text) => text.querySelector('.table') && !text.querySelector('.plain')
      const isAtEnd = () => feed.scrollHeight - feed.clientHeight - feed.scrollTop < 2
      if (texts.length === TURNS) {
        if (isDrawn(texts.at(-1)) && isAtEnd()) times.newest ??= performance.now()
        if (texts.every(isDrawn)) times.all ??= performance.now()
      }
      if (!times.all) requestAnimationFrame(look)
    }
    addEventListener('DOMContentLoaded', look)
"""


@dataclass(frozen=True)
class Streamed:
    """What a minute of an answer took, in ms: each frame, each long task, and each key."""

    work: list[float]
    long_tasks: list[float]
    keys: list[float]


@dataclass(frozen=True)
class Reloaded:
    """What a reload took until each moment, in ms."""

    first_paint: float
    newest: float
    all: float


async def measure(box: Box, *, rounds: int) -> Report:
    """A minute of one answer, and a reload of many, in a new browser each round."""
    executable = find_chromium()
    if executable is None:
        return Report(notes=["Skipped: Chromium is not installed."])
    streamed, reloaded = [], []
    with valkey_server() as redis:
        for _ in range(rounds):
            with contextlib.ExitStack() as stack:
                # A browser is several processes. On one core, a key would wait for other processes
                # of the browser that compose and paint, which it does on nobody's machine.
                with box.on_all_cores():
                    address = stack.enter_context(running_chromium(executable))
                async with _opened(redis.url, address) as (site, browser):
                    streamed.append(await _stream(box, site, browser))
                    reloaded.append(await _reload(box, site, browser))
    return _report(streamed, reloaded)


@contextlib.asynccontextmanager
async def _opened(redis_url: str, address: str) -> AsyncIterator[tuple[Site, Browser]]:
    async with (
        ScriptedUpstream() as upstream,
        running_site(redis_url, upstream) as site,
        connect(address) as browser,
    ):
        yield site, browser


async def _stream(box: Box, site: Site, browser: Browser) -> Streamed:
    deltas = _deltas(box.some(_STREAM_S * _DELTAS_PER_S))
    steps: Script = [step for text in deltas for step in (Text(text), Pause(1 / _DELTAS_PER_S))]
    page = await browser.open(site.url)
    # A first answer loads the libraries, as in a conversation that goes on.
    site.answers[_QUESTION] = [Text(_TEXT), Finish()]
    await _ask(page)
    await page.wait_for("document.querySelector('.answer .hljs-keyword') !== null")
    await page.evaluate(_WATCH)
    site.answers[_QUESTION] = [*steps, Finish()]
    await _ask(page)
    await _type_until_the_end(page)
    expected = "".join(deltas)
    shown = await page.evaluate("[...document.querySelectorAll('.answer > .text')][1].rawText")
    if shown != expected:
        raise Incorrect(f"the page has {len(shown)} of {len(expected)} characters")
    return Streamed(**await page.evaluate("seen"))


async def _ask(page: Page) -> None:
    await page.evaluate("document.getElementById('message').focus()")
    await page.type(_QUESTION)
    await page.press("Enter", 13)


async def _type_until_the_end(page: Page) -> None:
    is_over = "[...document.querySelectorAll('.answer')][1]?.dataset.status === 'completed'"
    while not await page.evaluate(is_over):
        await page.command("Input.dispatchKeyEvent", type="keyDown", key="a", text="a")
        await page.command("Input.dispatchKeyEvent", type="keyUp", key="a")
        await asyncio.sleep(1 / _KEYS_PER_S)


async def _reload(box: Box, site: Site, browser: Browser) -> Reloaded:
    turns = box.some(_TURNS)
    text = _words(_WORDS_PER_TURN)
    site.answers[_QUESTION] = [Text(text), Finish()]
    conversation = f"bench-{id(browser)}"
    async with httpx2.AsyncClient(base_url=site.url) as client:
        for _ in range(turns):
            body = {"message": _QUESTION, "conversation_id": conversation}
            submitted = (await client.post("/chat", json=body)).json()
            await client.get(f"/chat/{submitted['request_id']}/stream")
    page = await browser.open(f"{site.url}client.js")
    watch = _WATCH_RELOAD.replace("TURNS", str(turns))
    await page.command("Page.addScriptToEvaluateOnNewDocument", source=watch)
    await page.go(f"{site.url}?c={conversation}")
    await page.wait_for("times.all", timeout_s=60)
    await page.reload()
    await page.wait_for("times.all", timeout_s=60)
    times = await page.evaluate("times")
    paints = "performance.getEntriesByName('first-contentful-paint')[0].startTime"
    return Reloaded(**times, first_paint=await page.evaluate(paints))


def _deltas(count: int) -> list[str]:
    """Pieces of Markdown as long as those of a model."""
    return list(islice(cycle(_TEXT[at : at + 4] for at in range(0, len(_TEXT), 4)), count))


def _words(count: int) -> str:
    return _TEXT * (count // len(_TEXT.split()) + 1)


def _report(streamed: Sequence[Streamed], reloaded: Sequence[Reloaded]) -> Report:
    def spread(values: Iterable[float]) -> Spread:
        return Spread(tuple(values))

    files = load_page().files.items()
    kib = sum(len(file.gzipped) for path, file in files if _belongs_to_chat(path)) / 1024
    rows = {
        "work in a frame, p50": spread(percentile(each.work, 0.5) for each in streamed),
        "longest task": spread(max([*each.long_tasks, 0]) for each in streamed),
        "tasks of 50 ms and more, number": spread(len(each.long_tasks) for each in streamed),
        "key, p50": spread(percentile(each.keys, 0.5) for each in streamed),
        "first paint": spread(each.first_paint for each in reloaded),
        "all answers drawn": spread(each.all for each in reloaded),
    }
    work = spread(percentile(each.work, 0.99) for each in streamed)
    keys = spread(percentile(each.keys, 0.99) for each in streamed)
    bounds = [
        Bound("work in a frame, p99", work, 50, 16, "ms"),
        Bound("key until its handlers are done, p99", keys, 16, unit="ms"),
        Bound("newest answer drawn", spread(each.newest for each in reloaded), 500, unit="ms"),
        Bound("files of the page, compressed", Spread((kib,)), 300, unit="KiB"),
    ]
    table = Table(["figure", "ms"], [[name, str(each)] for name, each in rows.items()])
    return Report(tables=[table], bounds=bounds)


def _belongs_to_chat(path: str) -> bool:
    """All that the page may load; the pages of the status and the documentation are others."""
    return not any(word in path for word in ("swagger", "docs", "status", "LICENSES"))
