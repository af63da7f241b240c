"""The picker of the model and the temperature, and links that carry both."""

from pathlib import Path

import pytest

from tests.page.looking import ANSWERS, FOCUSED, NOTES, ask, click, shows, waiting
from tests.page.site import Site
from tests.page.test_shell import findings
from tests.support.browser import Browser, Page
from tests.support.node import installed

pytestmark = pytest.mark.slow

BUTTON = "document.getElementById('picker-button').textContent"
OPEN = "document.getElementById('picker').matches(':popover-open')"
MODELS = (
    "[...document.querySelectorAll('#picker .models label')]"
    ".filter((label) => label.checkVisibility()).map((label) => label.textContent)"
)
CHOICE = "The server’s choice"


async def opened(browser: Browser, url: str, *models: str, width: int = 1100) -> Page:
    """A page whose server has these models."""
    page = await browser.open(url, width=width)
    # The page's own first reading would otherwise come later, and replace these.
    reading = (
        "performance.getEntriesByType('resource').some(({name}) => name.endsWith('/v1/models'))"
    )
    await page.wait_for(reading)
    listed = ", ".join(f"{{id: '{model}'}}" for model in models)
    await page.evaluate(
        f"window.real = fetch; window.fetch = (url, ...more) => String(url).endsWith('/v1/models') "
        f"? Promise.resolve(Response.json({{data: [{listed}]}})) : real(url, ...more)"
    )
    return page


async def test_the_picker_sends_a_model_and_a_temperature_which_stay_with_the_conversation(
    browser: Browser, site: Site
) -> None:
    page = await opened(browser, site.url, "small", "large")
    await click(page, "#picker-button")
    await shows(page, MODELS, [CHOICE, "small", "large"])
    await page.wait_for("document.activeElement.type === 'radio'")
    await page.press("ArrowDown", 40)
    await shows(page, BUTTON, "small")
    await page.press("ArrowDown", 40)
    await shows(page, BUTTON, "large")
    await page.evaluate("document.querySelector('#picker [type=number]').focus()")
    await page.type("0.3")
    await page.press("Enter", 13)
    await shows(page, OPEN, value=False)
    await shows(page, FOCUSED, "picker-button")
    await shows(page, BUTTON, "large · 0.3°")
    await ask(page, "Hi?")
    await shows(page, ANSWERS, ["You said: Hi?"])
    body = site.upstream.calls[0].body
    assert (body["model"], body["temperature"]) == ("large", 0.3)
    other = await browser.open(await page.evaluate("location.href"))
    await shows(other, BUTTON, "large · 0.3°")
    await click(other, "#picker-button")
    await click(other, "#picker .own")
    await shows(other, BUTTON, "large")
    await ask(other, "More?")
    await shows(other, ANSWERS, ["You said: Hi?", "You said: More?"])
    body = site.upstream.calls[1].body
    assert (body["model"], "temperature" in body) == ("large", False)


async def test_escape_closes_the_picker_and_the_answer_goes_on(
    browser: Browser, site: Site
) -> None:
    rest, site.answers["Hi?"] = waiting("so far", ", so good")
    page = await opened(browser, site.url)
    await ask(page, "Hi?")
    await shows(page, ANSWERS, ["so far"])
    await page.evaluate("document.getElementById('picker-button').focus()")
    await page.press("Enter", 13)
    await shows(page, OPEN, value=True)
    await page.press("Escape", 27)
    await shows(page, OPEN, value=False)
    await shows(page, FOCUSED, "picker-button")
    rest.set()
    await shows(page, ANSWERS, ["so far, so good"])
    assert await page.evaluate(NOTES) != ["Stopped."]


async def test_a_long_list_is_searched_and_hostile_names_are_text(
    browser: Browser, site: Site
) -> None:
    hostile = "<img src=x onerror=harmed=true>"
    page = await opened(browser, site.url, *(f"model-{n}" for n in range(20)), hostile)
    await click(page, "#picker-button")
    await page.wait_for(f"{MODELS}.length === 22")
    await page.evaluate("document.querySelector('#picker [type=search]').focus()")
    await page.type("model 19")
    await shows(page, MODELS, ["model-19"])
    await page.type(" none")
    await shows(page, MODELS, [])
    assert await page.evaluate("document.querySelector('#picker .none').checkVisibility()")
    assert await page.evaluate("document.querySelectorAll('#picker img').length") == 0
    assert page.problems == []


async def test_a_link_carries_a_role_a_model_and_a_temperature(
    browser: Browser, site: Site
) -> None:
    page = await browser.open(f"{site.url}?role=sql&model=m7&temperature=0")
    await shows(page, BUTTON, "m7 · 0°")
    await shows(page, "document.getElementById('role').value", "sql")
    await ask(page, "All users")
    await shows(page, ANSWERS, ["You said: All users"])
    body = site.upstream.calls[0].body
    assert (body["model"], body["temperature"]) == ("m7", 0)
    assert body["messages"][0]["role"] == "system"
    odd = await browser.open(f"{site.url}?temperature=9&model=%20")
    await shows(odd, BUTTON, "Model")


async def test_a_number_that_is_no_temperature_is_marked_and_not_sent(
    browser: Browser, site: Site
) -> None:
    page = await opened(browser, site.url)
    await click(page, "#picker-button")
    number = "document.querySelector('#picker [type=number]')"
    await page.evaluate(f"{number}.focus()")
    await page.type("7")
    await shows(page, f"{number}.ariaInvalid", "true")
    await page.press("Enter", 13)
    await ask(page, "Hi?")
    await shows(page, ANSWERS, ["You said: Hi?"])
    assert "temperature" not in site.upstream.calls[0].body


async def test_the_open_picker_fits_a_phone_and_axe_finds_nothing(
    browser: Browser, site: Site, tmp_path: Path
) -> None:
    axe = (installed(tmp_path, "axe") / "node_modules/axe-core/axe.min.js").read_text()
    names = [f"a-provider/a-model-with-a-long-name-{n}" for n in range(20)]
    for width in (320, 1100):
        page = await opened(browser, site.url, *names, width=width)
        await click(page, "#picker-button")
        await page.wait_for(f"{MODELS}.length === 21")
        await page.evaluate(axe)
        assert await findings(page) == []
        box = await page.evaluate(
            "(({left, right, top, bottom}) => "
            "[left, top, innerWidth - right, innerHeight - bottom])"
            "(document.getElementById('picker').getBoundingClientRect())"
        )
        assert min(box) >= 0, box
        assert await page.evaluate("document.documentElement.scrollWidth") == width
        assert await page.evaluate("document.querySelector('.models label').offsetWidth") > 200
