"""The site of the documents reads offline: pages open as files, and the search works."""

import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.browser import Browser, Page

ROOT = Path(__file__).resolve().parent.parent
# mkdocs prints an advertisement without these.
QUIET = {"DISABLE_MKDOCS_2_WARNING": "true", "NO_MKDOCS_2_WARNING": "1"}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(180),
    pytest.mark.skipif(
        importlib.util.find_spec("mkdocs") is None, reason="`make docs` installs mkdocs"
    ),
]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built strictly: a warning, such as a dead link, fails the build."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder],
        cwd=ROOT,
        env=os.environ | QUIET,
        check=False,
        capture_output=True,
        text=True,
        timeout=150,
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
async def page(site: Path, browser: Browser) -> AsyncIterator[Page]:
    """The first page, opened as a file; at the end no script may have failed."""
    opened = await browser.open((site / "index.html").as_uri(), width=1400)
    yield opened
    assert opened.problems == []


async def _click(page: Page, link: str) -> None:
    """Click the first link that ends with `link`, and wait for its page."""
    await page.evaluate(f"document.querySelector('a[href$=\"{link}\"]').click()")
    await page.wait_for(
        f"location.pathname.endsWith('/{link}') && document.readyState === 'complete'"
    )


async def _heading(page: Page) -> str:
    return str(await page.evaluate("document.querySelector('h1').firstChild.textContent.trim()"))


async def test_pages_of_every_kind_are_clicked_through(page: Page) -> None:
    assert await _heading(page) == "Tickertape"

    await _click(page, "decisions/index.html")
    await _click(page, "0002-fence-in-every-script.html")
    assert await _heading(page) == "The fence is checked inside every write"

    await _click(page, "http-api.html")
    assert "POST /chat" in await page.evaluate("document.querySelector('article').innerText")

    await _click(page, "reference/index.html")
    await _click(page, "broker.html")
    assert "submit" in await page.evaluate("document.querySelector('article').innerText")


async def test_the_search_finds_a_page_without_a_server(page: Page) -> None:
    field = "document.querySelector('input.md-search__input')"
    state = "document.querySelector('.md-search-result__meta').innerText.trim()"
    await page.evaluate(f"{field}.focus()")
    await page.wait_for(f"{state} === 'Type to start searching'")
    await page.type("fencing token")
    await page.press("End", 35)  # the theme reads the field when a key is released
    await page.wait_for(f"{state}.includes('matching documents')")
    await page.wait_for("!!document.querySelector('.md-search-result__link')")

    await page.evaluate("document.querySelector('.md-search-result__link').click()")
    await page.wait_for("location.pathname.endsWith('.html') && location.search.includes('h=')")


def test_no_page_loads_anything_from_another_host(site: Path) -> None:
    loaded = re.compile(r"<(?:script|link rel=\"stylesheet\"|img)[^>]*(?:src|href)=\"https?:[^\"]*")
    assert {
        found for page in site.rglob("*.html") for found in loaded.findall(page.read_text())
    } == set()
