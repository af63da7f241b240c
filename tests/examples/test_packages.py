"""The examples whose packages are installed for the test, and the one that needs a browser."""

import asyncio
import shutil
from pathlib import Path

import pytest

from tests.examples.conftest import EXAMPLES, QUESTION, SHORTER, WHOLE, Run, serving_files
from tests.support.browser import Browser
from tests.support.node import installed
from tests.support.packages import locked_python
from tests.support.running_api import RunningApi
from tests.support.wait import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def node_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("node")
    installed(folder, "ai7")
    for example in EXAMPLES.glob("*.mjs"):
        shutil.copy(example, folder)
    return folder


async def test_openais_node_client_chats(run: Run, node_folder: Path) -> None:
    assert await run("node", "chat.mjs", QUESTION, cwd=node_folder) == f"{WHOLE}\n{WHOLE}\n"


async def test_openais_node_client_leaves_a_response_and_comes_back(
    run: Run, node_folder: Path
) -> None:
    said = await run("node", "background.mjs", QUESTION, cwd=node_folder)
    assert said == f"{WHOLE}\n{SHORTER}\n"


async def test_the_ai_sdks_chat_is_read_by_two(
    api: RunningApi, run: Run, node_folder: Path, rest: asyncio.Event
) -> None:
    rest.clear()
    running = asyncio.create_task(run("node", "ai_sdk.mjs", QUESTION, cwd=node_folder))
    await wait_until(
        lambda: running.done() or api.services.streams.open_streams == 2,
        timeout_s=30,
        description="both read",
    )
    rest.set()
    assert await running == f"{WHOLE}\n{WHOLE}\n"


async def test_tanstacks_run_is_joined_by_another_client(run: Run, tmp_path: Path) -> None:
    folder = installed(tmp_path, "agui")
    shutil.copy(EXAMPLES / "tanstack.mjs", folder)
    assert await run("node", "tanstack.mjs", QUESTION, cwd=folder) == f"{WHOLE}\n{WHOLE}\n"


async def test_langchain_chats(python: Run) -> None:
    said = await python("langchain_chat.py", executable=locked_python("clients"))
    assert said == f"{WHOLE}\n{WHOLE}\n"


async def test_a_pages_event_source_follows_an_answer(api: RunningApi, browser: Browser) -> None:
    with serving_files(EXAMPLES) as origin:
        page = await browser.open(f"{origin}/event_source.html?api={api.url}")
        await page.evaluate("document.querySelector('button').click()")
        await page.wait_for("document.querySelector('pre').dataset.status === 'completed'")
        assert await page.evaluate("document.querySelector('pre').textContent") == WHOLE
