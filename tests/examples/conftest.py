"""All of Tickertape in this process, and an upstream that says what the examples expect."""

import asyncio
import contextlib
import functools
import http.server
import os
import shutil
import socket
import sys
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.examples.shop import PYDANTIC, Shop
from tests.support.client_programs import run_client_program
from tests.support.deployment import Deployment
from tests.support.node import installed
from tests.support.packages import ROOT, locked_python, run_installer
from tests.support.rig import working
from tests.support.running_api import RunningApi, running_api
from tests.support.script import DEFAULT_MODEL, Done, Finish, Script, Text, Wait, answer
from tests.support.servers import ValkeyServer
from tests.support.upstream import Call, ScriptedUpstream
from tests.support.wait import wait_until
from tickertape.runtime.settings import Settings

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
PIECES = ["Because ", "of ", "the ", "air."]
WHOLE = "".join(PIECES)
SHORTER = "Air."
QUESTION = "Why is it blue?"
_PAGE = """<!doctype html><title>Ours</title><link rel=stylesheet href=page.css><main></main>
<script type=module src=page.js></script>"""
_CHAT_ENTRY = """
import { createRoot } from 'react-dom/client';
import { Chat, history } from './use_chat.jsx';
const query = new URLSearchParams(location.search);
const [id, server] = [query.get('id'), query.get('api')];
const messages = await history(id, server);
createRoot(document.querySelector('main')).render(<Chat {...{ id, messages, server }} />);
"""
_TIMEOUT_S = 50
_PAGES = 3
_SERVED: set[int] = set()

Run = Callable[..., Coroutine[Any, Any, str]]


@pytest.fixture
def rest() -> asyncio.Event:
    """What the upstream waits for in the middle of its answer: it has come, unless cleared."""
    event = asyncio.Event()
    event.set()
    return event


@pytest.fixture
async def api(
    redis_url: str, upstream: ScriptedUpstream, rest: asyncio.Event
) -> AsyncIterator[RunningApi]:
    def script(call: Call) -> Script:
        if call.body["messages"][-1]["content"] != QUESTION:
            assert call.body["messages"][-2] == {"role": "assistant", "content": WHOLE}
            return answer(SHORTER)
        return [Text(PIECES[0]), Wait(rest), *map(Text, PIECES[1:]), Finish(), Done()]

    upstream.script = script
    settings = Settings(openai_base_url=upstream.base_url, openai_model=DEFAULT_MODEL)
    async with (
        running_api(redis_url, cors_origins=page_origins()) as running,
        working(redis_url, settings),
    ):

        async def are_listed() -> bool:
            models = (await running.client.get("/v1/models")).json()["data"]
            return DEFAULT_MODEL in {model["id"] for model in models}

        await wait_until(are_listed, description="a worker has listed the models")
        yield running


@pytest.fixture
def run(api: RunningApi) -> Run:
    """Run a program against the API, with addresses and keys in its environment; its output."""
    environment = {
        **os.environ,
        "OPENAI_BASE_URL": f"{api.url}/v1",
        "OPENAI_API_KEY": "none",
        "OPENAI_MODEL": DEFAULT_MODEL,
        "TICKERTAPE_URL": api.url,
        "NODE_NO_WARNINGS": "1",
    }

    async def running(*command: str | Path, cwd: Path | None = None) -> str:
        output = await run_client_program(command, environment, cwd=cwd, limit_s=_TIMEOUT_S)
        return output.decode()

    return running


@functools.cache
def page_ports() -> list[int]:
    """The ports at which pages are served. An API is told of them before it starts."""
    with contextlib.ExitStack() as stack:
        found = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(_PAGES)]
        return [listener.getsockname()[1] for listener in found]


def page_origins() -> str:
    """The origins of all pages, as the setting that allows these."""
    return ",".join(map(_origin, page_ports()))


def _origin(port: int) -> str:
    return f"http://127.0.0.1:{port}"


@contextlib.contextmanager
def serving_files(folder: Path) -> Iterator[str]:
    """Serve a folder from an origin of its own; yields the origin."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            """Say nothing of each file that is served."""

    handler = functools.partial(Quiet, directory=str(folder))
    port = next(each for each in page_ports() if each not in _SERVED)
    _SERVED.add(port)
    try:
        with http.server.ThreadingHTTPServer(("127.0.0.1", port), handler) as server:
            serving = threading.Thread(target=server.serve_forever)
            serving.start()
            try:
                yield _origin(port)
            finally:
                server.shutdown()
                serving.join()
    finally:
        _SERVED.discard(port)


@pytest.fixture
def python(run: Run) -> Run:
    """Run a Python example."""

    async def running(name: str, *, executable: str | Path = sys.executable) -> str:
        return await run(executable, EXAMPLES / name, QUESTION)

    return running


@pytest.fixture
def chat_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a page around use_chat.jsx."""
    folder = installed(tmp_path_factory.mktemp("chat"), "ai7")
    tools = installed(tmp_path_factory.mktemp("tools"), "own_page") / "node_modules"
    aliases = [f"--alias:{name}={tools / name}" for name in ("react", "react-dom")]
    return bundled(folder, tools, "use_chat.jsx", _CHAT_ENTRY, *aliases)


def bundled(folder: Path, tools: Path, example: str, entry: str, *options: str) -> Path:
    """`folder` with a page around an example, bundled as a user does it."""
    shutil.copy(EXAMPLES / example, folder)
    (folder / "main.jsx").write_text(entry, "utf-8")
    (folder / "index.html").write_text(_PAGE, "utf-8")
    bundling = ("--bundle", "--format=esm", "--jsx=automatic", "--outfile=page.js", *options)
    run_installer(tools / ".bin" / "esbuild", "main.jsx", *bundling, cwd=folder)
    return folder


@pytest.fixture(params=[PYDANTIC], ids=["pydantic"])
async def shop(
    request: pytest.FixtureRequest,
    own_redis: ValkeyServer,
    deployment: Deployment,
    upstream: ScriptedUpstream,
    tmp_path: Path,
) -> AsyncIterator[Shop]:
    # The worker has the packages of the agent in front of its own.
    (packages,) = locked_python("clients").parent.parent.glob("lib/python*/site-packages")
    deployment.settings["PYTHONPATH"] = os.pathsep.join(map(str, [ROOT, EXAMPLES, packages]))
    async with running_api(
        own_redis.url, openai_model=request.param[1], cors_origins=page_origins(), lease_s=1
    ) as api:
        shop = Shop(request.param, api, deployment, upstream, tmp_path / "refunds.txt")
        await shop.start_worker()
        yield shop
