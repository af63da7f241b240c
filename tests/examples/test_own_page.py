"""Pages of other people, with the JavaScript client: in React, in Vue, and without a build."""

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest

from tests.examples.conftest import EXAMPLES, PIECES, QUESTION, WHOLE, serving_files
from tests.support.browser import Browser
from tests.support.node import installed
from tests.support.packages import ROOT, run_installer
from tests.support.running_api import RunningApi, running_api
from tests.support.wait import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

_CLIENT = ROOT / "client" / "javascript" / "client.js"
_PAGE = "<!doctype html><title>Ours</title><main></main><script type=module src={}></script>"
# What a user's page adds to the example: it shows the component, and takes it away.
_READ = (
    "const query = new URLSearchParams(location.search);"
    "const [requestId, baseUrl] = [query.get('id'), query.get('api')];"
)
_ENTRIES = {
    "react": "import { createElement, StrictMode } from 'react';"
    "import { createRoot } from 'react-dom/client';"
    "import { Answer } from './react_answer.jsx';"
    "const root = createRoot(document.querySelector('main'));"
    "root.render(createElement(StrictMode, null, createElement(Answer, { requestId, baseUrl })));"
    "window.leave = () => root.unmount();",
    "vue": "import { createApp } from 'vue';"
    "import { Answer } from './vue_answer.js';"
    "const app = createApp(Answer, { requestId, baseUrl });"
    "app.mount('main');"
    "window.leave = () => app.unmount();",
}
_TEXT = "document.querySelector('p')?.textContent"


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An origin with a page for each framework, bundled as their users do it."""
    folder = installed(tmp_path_factory.mktemp("pages"), "own_page")
    for example in (*EXAMPLES.glob("*.js*"), EXAMPLES / "own_page.html"):
        shutil.copy(example, folder)
    options = ("--bundle", "--jsx=automatic", f"--alias:tickertape-client={_CLIENT}")
    for name, entry in _ENTRIES.items():
        (folder / f"{name}.js").write_text(_READ + entry, "utf-8")
        (folder / f"{name}.html").write_text(_PAGE.format(f"{name}.bundle.js"), "utf-8")
        esbuild = folder / "node_modules" / ".bin" / "esbuild"
        run_installer(esbuild, f"{name}.js", *options, f"--outfile={name}.bundle.js", cwd=folder)
    with serving_files(folder) as served:
        yield served


@pytest.mark.parametrize("framework", sorted(_ENTRIES))
async def test_a_component_shows_an_answer_while_it_is_written(
    framework: str, api: RunningApi, rest: asyncio.Event, browser: Browser, origin: str
) -> None:
    rest.clear()
    query = urlencode({"id": await api.submit(QUESTION), "api": api.url})
    page = await browser.open(f"{origin}/{framework}.html?{query}")
    await page.wait_for(f"{_TEXT} === {PIECES[0]!r}")
    rest.set()
    await page.wait_for("document.querySelector('p').dataset.status === 'completed'")
    assert await page.evaluate(_TEXT) == WHOLE


@pytest.mark.parametrize("framework", sorted(_ENTRIES))
async def test_a_component_that_is_taken_away_reads_no_more(
    framework: str, api: RunningApi, rest: asyncio.Event, browser: Browser, origin: str
) -> None:
    rest.clear()
    request_id = await api.submit(QUESTION)
    query = urlencode({"id": request_id, "api": api.url})
    page = await browser.open(f"{origin}/{framework}.html?{query}")
    await page.wait_for(f"{_TEXT} === {PIECES[0]!r}")
    streams = api.services.streams
    # React in its strict mode mounts twice: the first reader has ended as well.
    await wait_until(lambda: streams.open_streams == 1, description="one stream is open")
    await page.evaluate("leave()")
    await wait_until(lambda: streams.open_streams == 0, description="the stream is closed")
    assert (await api.read(request_id))["status"] == "running"
    rest.set()


async def test_a_page_of_an_allowed_origin_needs_no_package(
    api: RunningApi, browser: Browser, tmp_path: Path
) -> None:
    text = (EXAMPLES / "own_page.html").read_text("utf-8")
    (tmp_path / "own_page.html").write_text(text.replace("http://127.0.0.1:8000", api.url), "utf-8")
    with serving_files(tmp_path) as served:
        page = await browser.open(f"{served}/own_page.html")
        await page.wait_for(f"{_TEXT} === {WHOLE!r}")


_IMPORT = "import({!r}).then(({{ follow }}) => typeof follow, ({{ name }}) => name)"


async def test_only_a_page_of_an_allowed_origin_imports_the_client(
    redis_url: str, browser: Browser, tmp_path: Path
) -> None:
    (tmp_path / "index.html").write_text("<!doctype html><title>Ours</title>", "utf-8")
    with serving_files(tmp_path) as allowed, serving_files(tmp_path) as other:
        async with running_api(redis_url, cors_origins=allowed) as api:
            importing = _IMPORT.format(f"{api.url}/client/v1/client.js")
            page = await browser.open(f"{allowed}/index.html")
            assert await page.evaluate(importing) == "function"
            page = await browser.open(f"{other}/index.html")
            assert await page.evaluate(importing) == "TypeError"
    assert "blocked by CORS policy" in page.problems.pop()
