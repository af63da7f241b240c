"""What a person does with the page and sees on it."""

from tests.support.browser import Page
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
STATUS = "document.getElementById('status').textContent"
BOX = "document.getElementById('message')"


async def ask(page: Page, question: str) -> None:
    """Type a question, send it, and wait until it is accepted."""
    await page.evaluate(f"{BOX}.focus()")
    await page.type(question)
    # On a phone, Enter starts a line.
    if await page.evaluate("matchMedia('(hover: none) and (pointer: coarse)').matches"):
        await click(page, "#send")
    else:
        await page.press("Enter", 13)
    await page.wait_for(f"{BOX}.value === ''", description="the question to be accepted")


async def click(page: Page, selector: str) -> None:
    """Click what `selector` finds, once it can be seen."""
    await page.wait_for(f"document.querySelector('{selector}')?.checkVisibility()")
    await page.evaluate(f"document.querySelector('{selector}').click()")


async def shows(page: Page, expression: str, value: object) -> None:
    """Wait until the page shows this."""

    async def does() -> bool:
        return bool(await page.evaluate(expression) == value)

    try:
        await wait_until(does, timeout_s=20, description=f"{expression} to be {value!r}")
    except AssertionError as error:
        error.add_note(f"it is {await page.evaluate(expression)!r}")
        raise
