"""The component of docs/usechat.md in a browser, with the packages of the AI SDK 7."""

import asyncio
import shutil
from pathlib import Path
from urllib.parse import urlencode

import pytest

from tests.examples.conftest import EXAMPLES, PIECES, QUESTION, WHOLE, serving_files
from tests.support.browser import Browser
from tests.support.node import installed
from tests.support.packages import run_installer
from tests.support.running_api import RunningApi

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

_PAGE = "<!doctype html><title>Ours</title><main></main><script type=module src=page.js></script>"
_ENTRY = """
import { createRoot } from 'react-dom/client';
import { Chat, history } from './use_chat.jsx';
const query = new URLSearchParams(location.search);
const [id, server] = [query.get('id'), query.get('api')];
const messages = await history(id, server);
createRoot(document.querySelector('main')).render(<Chat {...{ id, messages, server }} />);
"""
_SHOWN = "JSON.stringify([...document.querySelectorAll('p')].map((p) => p.textContent))"
_SEND = f"""
document.querySelector('input').value = {QUESTION!r};
document.querySelector('button').click();
"""


@pytest.fixture
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page's folder, bundled as a user does it."""
    folder = installed(tmp_path_factory.mktemp("chat"), "ai7")
    tools = installed(tmp_path_factory.mktemp("tools"), "own_page") / "node_modules"
    shutil.copy(EXAMPLES / "use_chat.jsx", folder)
    (folder / "entry.jsx").write_text(_ENTRY, "utf-8")
    (folder / "index.html").write_text(_PAGE, "utf-8")
    aliases = [f"--alias:{name}={tools / name}" for name in ("react", "react-dom")]
    options = ("--bundle", "--format=esm", "--jsx=automatic", "--outfile=page.js", *aliases)
    run_installer(tools / ".bin" / "esbuild", "entry.jsx", *options, cwd=folder)
    return folder


async def test_a_page_is_reloaded_in_mid_answer_and_shows_the_whole_chat(
    api: RunningApi, rest: asyncio.Event, browser: Browser, bundle: Path
) -> None:
    rest.clear()
    with serving_files(bundle) as origin:
        page = await browser.open(f"{origin}/index.html?{urlencode({'id': 'a', 'api': api.url})}")
        await page.wait_for("document.querySelector('form')?.dataset.status === 'ready'")
        await page.evaluate(_SEND)
        await page.wait_for(f"{_SHOWN} === JSON.stringify([{QUESTION!r}, {PIECES[0]!r}])")
        await page.reload()
        await page.wait_for(f"{_SHOWN} === JSON.stringify([{QUESTION!r}, {PIECES[0]!r}])")
        rest.set()
        await page.wait_for("document.querySelector('form').dataset.status === 'ready'")
        await page.wait_for(f"{_SHOWN} === JSON.stringify([{QUESTION!r}, {WHOLE!r}])")
