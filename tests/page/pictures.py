"""Makes the pictures of the README: two browsers on one link, in the middle of an answer.

`make pictures` runs everything as a user does: `tickertape up` in processes of its own, and two
windows of Chromium with separate storage, a desktop's and a phone's. Only the upstream is scripted,
because the model that comes with Tickertape is too small for an answer that is worth a look.
"""

import asyncio
import base64
import re
import sys
import tempfile
from pathlib import Path
from string import Template

from tests.page.looking import ANSWERS, ask
from tests.support.browser import Browser, Page, connect, find_chromium, running_chromium
from tests.support.script import Done, Finish, Script, Text, Wait
from tests.support.up import up
from tests.support.upstream import Call, ScriptedUpstream

FOLDER = Path(__file__).parents[2] / "docs" / "pictures"
MAX_BYTES = 150_000

# In CSS pixels; all pictures have two device pixels for each.
_DESKTOP_PX = (880, 640)
_PHONE_PX = (375, 640)
_MARGIN_PX = 16
_TITLE_BAR_PX = 32

_FIRST = "Which planets have rings?"
_FIRST_ANSWER = """All **four giant planets** have rings:

| planet | rings first seen | made of |
|---|--:|---|
| Saturn | 1610 | ice |
| Uranus | 1977 | dark ice and rock |
| Jupiter | 1979 | dust |
| Neptune | 1984 | dust and dark ice |
"""
_SECOND = "And sorted by year, in Python?"
_SECOND_ANSWER = """`sorted` takes a key, here the year of each pair:

```python
rings = {"Neptune": 1984, "Saturn": 1610}
for planet, year in sorted(rings.items(), key=lambda pair: pair[1]):
    print(year, planet)  # the earliest first
```

Saturn comes first by more than three centuries, because a small"""

_COMPOSITION = Template("""<!doctype html>
<style>
  body { margin: ${margin}px; display: flex; gap: ${margin}px; font: 12px/${bar}px sans-serif }
  figure { margin: 0; overflow: hidden; background: ${paper};
    border: 1px solid ${line}; border-radius: 10px }
  figcaption { height: ${bar}px; padding: 0 12px; color: ${ink}; box-sizing: border-box;
    border-bottom: 1px solid ${line}; white-space: nowrap; overflow: hidden;
    text-overflow: ellipsis }
  img { display: block }
  figure:first-of-type :is(img, figcaption) { width: ${width}px }
  figure:last-of-type :is(img, figcaption) { width: ${phone_width}px }
</style>
<figure><figcaption>${link}</figcaption><img src="${desktop}"></figure>
<figure><figcaption>${link}</figcaption><img src="${phone}"></figure>
""")
_COLOURS = {
    "light": {"paper": "#f4f4f5", "ink": "#52525b", "line": "#d4d4d8"},
    "dark": {"paper": "#27272a", "ink": "#a1a1aa", "line": "#3f3f46"},
}


async def make_pictures(folder: Path) -> None:
    """Write `two-browsers-light.webp` and `two-browsers-dark.webp`, each under `MAX_BYTES`."""
    executable = find_chromium()
    if executable is None:
        sys.exit("The pictures need Chromium, which is not installed.")
    folder.mkdir(parents=True, exist_ok=True)
    async with ScriptedUpstream() as upstream:
        upstream.script = _script
        with (
            tempfile.TemporaryDirectory() as data,
            up(Path(data), OPENAI_BASE_URL=upstream.base_url, OPENAI_API_KEY="none") as running,
            running_chromium(executable) as address,
        ):
            # `up` is watched without a loop, in which the upstream has to answer.
            await asyncio.to_thread(running.wait_until_printed, "Ready after ")
            async with connect(address) as browser:
                for scheme in ("light", "dark"):
                    picture = await _two_browsers(browser, running.url, scheme)
                    assert len(picture) < MAX_BYTES, (
                        f"the {scheme} picture has {len(picture)} bytes"
                    )
                    (folder / f"two-browsers-{scheme}.webp").write_bytes(picture)


def _script(call: Call) -> Script:
    """Whole answers, except to the second question, whose answer has no end."""
    if call.body["messages"][-1]["content"] == _SECOND:
        return [*_words(_SECOND_ANSWER), Wait(asyncio.Event())]
    return [*_words(_FIRST_ANSWER), Finish(), Done()]


def _words(text: str) -> list[Text]:
    return [Text(word) for word in re.findall(r"\S+\s*|\s+", text)]


async def _two_browsers(browser: Browser, url: str, scheme: str) -> bytes:
    """The desktop asks, the phone asks, and both show the second answer while it is written."""
    is_dark = scheme == "dark"
    desktop = await _open(browser, url, _DESKTOP_PX, is_dark=is_dark)
    link = await desktop.evaluate("location.href")
    phone = await _open(browser, link, _PHONE_PX, is_dark=is_dark)
    await ask(desktop, _FIRST)
    for page in (desktop, phone):
        await page.wait_for(f"{ANSWERS}[0]?.includes('dust and dark ice')")
    await ask(phone, _SECOND)
    for page in (desktop, phone):
        await page.wait_for("document.querySelectorAll('.answer .hljs-keyword').length > 1")
        await page.wait_for("!document.querySelector('.answer .plain')")
        await page.wait_for(f"{ANSWERS}[1]?.endsWith('because a small')")
    composition = Template(_COMPOSITION.safe_substitute(_COLOURS[scheme])).substitute(
        margin=_MARGIN_PX,
        bar=_TITLE_BAR_PX,
        link=link.removeprefix("http://"),
        width=_DESKTOP_PX[0],
        phone_width=_PHONE_PX[0],
        desktop=await _image(desktop),
        phone=await _image(phone),
    )
    return await _drawn(browser, composition)


async def _open(browser: Browser, url: str, size: tuple[int, int], *, is_dark: bool) -> Page:
    width, height = size
    page = await browser.open(url, width=width, height=height, dark=is_dark)
    await _resize(page, size, is_phone=size == _PHONE_PX)
    await page.command("Emulation.setScrollbarsHidden", hidden=True)
    # Otherwise the caret blinks, and one of the pictures may lack it.
    still = [
        {"name": "prefers-color-scheme", "value": "dark" if is_dark else "light"},
        {"name": "prefers-reduced-motion", "value": "reduce"},
    ]
    await page.command("Emulation.setEmulatedMedia", features=still)
    return page


async def _resize(page: Page, size: tuple[int, int], *, is_phone: bool = False) -> None:
    await page.command(
        "Emulation.setDeviceMetricsOverride",
        width=size[0],
        height=size[1],
        deviceScaleFactor=2,
        mobile=is_phone,
    )


async def _image(page: Page) -> str:
    """What the page shows, as the address of an image."""
    answer = await page.command("Page.captureScreenshot", format="png")
    return f"data:image/png;base64,{answer['data']}"


async def _drawn(browser: Browser, document: str) -> bytes:
    """A document as a WebP image with a transparent background."""
    width = _DESKTOP_PX[0] + _PHONE_PX[0] + 3 * _MARGIN_PX + 4
    height = _DESKTOP_PX[1] + _TITLE_BAR_PX + 2 * _MARGIN_PX + 2
    with tempfile.NamedTemporaryFile("w", suffix=".html", encoding="utf-8") as file:
        file.write(document)
        file.flush()
        page = await browser.open(Path(file.name).as_uri(), width=width, height=height)
    await _resize(page, (width, height))
    await page.command(
        "Emulation.setDefaultBackgroundColorOverride", color={"r": 0, "g": 0, "b": 0, "a": 0}
    )
    answer = await page.command("Page.captureScreenshot", format="webp", quality=70)
    return base64.b64decode(answer["data"])


if __name__ == "__main__":
    asyncio.run(make_pictures(Path(sys.argv[1]) if sys.argv[1:] else FOLDER))
