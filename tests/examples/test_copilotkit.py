"""The page and the runtime of docs/copilotkit.md, with CopilotKit's own packages."""

import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from urllib.parse import urlencode

import pytest

from tests.examples.conftest import EXAMPLES, bundled, serving_files
from tests.examples.shop import BEGIN, HALF, REFUND, STORY, WHOLE, Shop
from tests.page.looking import click, shows
from tests.support.browser import Browser, Page
from tests.support.cutting import Cutting
from tests.support.deployment import port_of
from tests.support.node import NodeProgram, installed

# The install of its packages takes minutes, so CI runs the other examples of pages.
pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(900)]

_ENTRY = """
import { createRoot } from 'react-dom/client';
import { Support } from './copilotkit.jsx';
const query = Object.fromEntries(new URLSearchParams(location.search));
createRoot(document.querySelector('main')).render(<Support {...query} />);
"""
# An answer's message that only calls tools has no text.
_SAID = """
    [...document.querySelectorAll('[data-testid=copilot-user-message],' +
      '[data-testid=copilot-assistant-message]')].map((message) => message.innerText.trim())
      .filter((text) => text)
"""
_BOX = "document.querySelector('[data-testid=copilot-chat-textarea]')"
_IS_RUNNING = "document.querySelector('[data-copilot-running]').dataset.copilotRunning"


@pytest.fixture(scope="module")
def page_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the packages of the runtime, and with a page."""
    folder = installed(tmp_path_factory.mktemp("copilotkit"), "copilotkit")
    tools = installed(tmp_path_factory.mktemp("tools"), "own_page") / "node_modules"
    shutil.copy(EXAMPLES / "agui_fetch.mjs", folder)
    fonts = [f"--loader:.{kind}=dataurl" for kind in ("woff", "woff2", "ttf")]
    return bundled(folder, tools, "copilotkit.jsx", _ENTRY, "--minify", *fonts)


@asynccontextmanager
async def running_runtime(
    folder: Path, api: Cutting, origin: str, *, port: int = 0
) -> AsyncIterator[str]:
    """CopilotKit's runtime in a process; yields its address."""
    environment = {
        "TICKERTAPE_URL": f"http://127.0.0.1:{api.port}",
        "MODEL": "shop-agent",
        "ORIGIN": origin,
        "PORT": str(port),
        "COPILOTKIT_TELEMETRY_DISABLED": "1",
    }
    async with NodeProgram(folder, EXAMPLES / "copilotkit_runtime.mjs", environment) as runtime:
        yield await anext(runtime.lines())


async def test_a_page_of_copilotkit_shows_one_answer_through_restarts_and_stops_another(
    shop: Shop, browser: Browser, page_folder: Path
) -> None:
    async with AsyncExitStack() as stack:
        # Each connection of the runtime to the API is cut behind an event.
        api = await stack.enter_async_context(Cutting(port_of(shop.api.url)))
        origin = stack.enter_context(serving_files(page_folder))
        runtime = AsyncExitStack()
        url = await runtime.enter_async_context(running_runtime(page_folder, api, origin))
        query = urlencode({"runtimeUrl": url, "threadId": "a"})
        page = await browser.open(f"{origin}/index.html?{query}")
        await say(page, REFUND)
        await shows(page, _SAID, [REFUND, HALF.strip()])
        # The runtime is killed in mid-answer, and another one takes its place.
        await runtime.aclose()
        port = int(url.split(":")[2].split("/")[0])
        await stack.enter_async_context(running_runtime(page_folder, api, origin, port=port))
        await shop.lose_worker()
        await shows(page, _SAID, [REFUND, WHOLE])
        shop.refunded_once()
        await page.reload()
        await shows(page, _SAID, [REFUND, WHOLE])
        await say(page, STORY)
        await shows(page, _SAID, [REFUND, WHOLE, STORY, BEGIN.strip()])
        await page.reload()
        await shows(page, _SAID, [REFUND, WHOLE, STORY, BEGIN.strip()])
        await click(page, "[data-testid=copilot-send-button]")
        await shop.stopped()
        await shows(page, _IS_RUNNING, "false")
        await shows(page, _SAID, [REFUND, WHOLE, STORY, BEGIN.strip()])
        # CopilotKit cancels the body of a lost connection again, and handles no error of that.
        assert all("network error" in problem for problem in page.problems)
        page.problems.clear()


async def say(page: Page, question: str) -> None:
    await page.wait_for(f"{_BOX} && {_IS_RUNNING} === 'false'", timeout_s=30)
    await page.evaluate(f"{_BOX}.focus()")
    await page.type(question)
    await page.press("Enter", 13)
