"""What a person does with the page and sees on it."""

import asyncio

from tests.support.any_browser import AnyPage
from tests.support.browser_socket import Navigated
from tests.support.script import Finish, Script, Text, Wait
from tests.support.wait import wait_until


def _texts(selector: str) -> str:
    return f"[...document.querySelectorAll('{selector}')].map((element) => element.textContent)"


# JavaScript for `Page.evaluate` and `shows`.
QUESTIONS = _texts(".question .text")
# The text of each answer, if what is drawn has all its words; else what is drawn.
ANSWERS = """
    [...document.querySelectorAll('.answer > .text')].map(({rawText, textContent}) =>
      rawText.replace(/\\s+/g, '') === textContent.replace(/\\s+/g, '') ? rawText : textContent)
"""
NOTES = _texts(".note")
# The calls of tools, their results, and data.
STEPS = _texts(":is(.calls, .data) :is(span, div, summary)")
STATUS = "document.getElementById('status').textContent"
BOX = "document.getElementById('message')"
FEED = "document.getElementById('feed')"
# How many pixels the history is above its end.
GAP = f"Math.round({FEED}.scrollHeight - {FEED}.clientHeight - {FEED}.scrollTop)"
FOCUSED = "document.activeElement.id"
ANNOUNCED = "document.getElementById('announcer').textContent"
LAST = "[...document.querySelectorAll('.answer > .text')].at(-1)"
RAW = f"{LAST}?.rawText"
# What no answer may bring to the page.
REFUSED = """
    [...document.querySelectorAll('.answer > .text *')].flatMap((element) => [
      ...(element.matches(`script, style, iframe, svg, form, object, embed, img, link, meta,
        details, base`) ? [element.outerHTML] : []),
      ...[...element.attributes].map(({name}) => name).filter((name) =>
        /^on|^(style|id|name|src|srcdoc|srcset|action|formaction|xlink:href)$/.test(name)),
      ...(element.matches('a') && (!/^https?:/.test(element.getAttribute('href')) ||
        element.rel !== 'noopener noreferrer nofollow') ? [element.outerHTML] : []),
    ])
"""

# An answer that is longer than the window.
LINES = "".join(f"line {n}\n" for n in range(200))


def waiting(*texts: str) -> tuple[asyncio.Event, Script]:
    """An answer that stops behind its first text until the event."""
    rest = asyncio.Event()
    return rest, [Text(texts[0]), Wait(rest), *(Text(text) for text in texts[1:]), Finish()]


async def ask(page: AnyPage, question: str) -> None:
    """Type a question, send it, and wait until it is accepted."""
    await page.evaluate(f"{BOX}.focus()")
    await page.type(question)
    # On a phone, Enter starts a line.
    if await page.evaluate("matchMedia('(hover: none) and (pointer: coarse)').matches"):
        await click(page, "#send")
    else:
        await page.press("Enter", 13)
    await page.wait_for(f"{BOX}.value === ''", description="the question to be accepted")


async def click(page: AnyPage, selector: str) -> None:
    """Click what `selector` finds, once it can be seen."""
    await page.wait_for(f"document.querySelector('{selector}')?.checkVisibility()")
    await page.evaluate(f"document.querySelector('{selector}').click()")


async def shows(page: AnyPage, expression: str, value: object, *, timeout_s: float = 20) -> None:
    """Wait until the page shows this."""

    async def does() -> bool:
        try:
            return bool(await page.evaluate(expression) == value)
        except Navigated:
            return False

    try:
        await wait_until(does, timeout_s=timeout_s, description=f"{expression} to be {value!r}")
    except AssertionError as error:
        error.add_note(f"it is {await page.evaluate(expression)!r}")
        raise
