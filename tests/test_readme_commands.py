"""The commands of README.md and examples/README.md do what they say, as they are printed."""

import asyncio
import re
import shutil
import stat
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.up import Up, up
from tests.support.upstream import ScriptedUpstream

ROOT = Path(__file__).resolve().parent.parent
PRINTED_URL = "http://127.0.0.1:8000"
NOT_RUN = {
    "make run": "the test starts what it starts; tests/e2e/test_up.py",
    "make test": "this test is a part of it",
    "make dist": "tests/test_wheel.py builds the wheel",
    "pip install dist/tickertape-*.whl": "tests/test_wheel.py installs it",
    "OPENAI_API_KEY=sk-... OPENAI_MODEL=gpt-4.1-mini make run": "needs a key",
    "OPENAI_BASE_URL=http://127.0.0.1:11434/v1 OPENAI_MODEL=qwen3 make run": "needs that server",
    "tickertape api --host 0.0.0.0 --processes 2": "serves until it is stopped; tests/e2e",
    "tickertape worker --processes 4": "works until it is stopped; tests/e2e",
    "sh docs/deploy/make-secrets.sh": "tests/deploy/test_compose.py runs it",
    "docker compose up --scale api=2 --scale worker=4": "needs Docker",
}

_BLOCK = re.compile(r"^```console\n(.*?)^```", re.MULTILINE | re.DOTALL)


def commands(document: str) -> list[str]:
    """What a reader types: the lines behind a prompt, without the remarks at their ends."""
    blocks = _BLOCK.findall((ROOT / document).read_text("utf-8"))
    typed = [line[2:] for block in blocks for line in block.splitlines() if line.startswith("$ ")]
    return [re.sub(r"\s{2,}# .*", "", line) for line in typed]


def to_run(document: str) -> list[str]:
    return [command for command in commands(document) if command not in NOT_RUN]


@pytest.fixture
async def running(tmp_path: Path, upstream: ScriptedUpstream) -> AsyncIterator[Up]:
    """`tickertape up` in a folder with the examples and programs of a checkout, and no settings."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    programs = tmp_path / ".venv" / "bin"
    programs.mkdir(parents=True)
    for name, begins in {"python": "", "tickertape": "-m tickertape.cli.main"}.items():
        program = programs / name
        program.write_text(f'#!/bin/sh\nexec {sys.executable} {begins} "$@"\n')
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
    with up(tmp_path, OPENAI_BASE_URL=upstream.base_url, OPENAI_API_KEY="key") as everything:
        # `up` is watched without a loop, in which the upstream has to answer.
        await asyncio.to_thread(everything.wait_until_printed, "Ready after ")
        yield everything


@pytest.mark.slow
@pytest.mark.parametrize("document", ["README.md", "examples/README.md"])
async def test_each_command_works_as_it_is_printed(running: Up, document: str) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    script = "\n".join(["set -e", *to_run(document)]).replace(PRINTED_URL, running.url)
    # The commands of the terminal know no other address than the default one.
    script = f"export TICKERTAPE_URL={running.url}\n{script}"
    done = await asyncio.to_thread(running.shell, script)
    assert done.returncode == 0, done.stderr
    assert "Hello, world." in done.stdout


def test_no_reason_is_left_for_a_command_that_is_gone() -> None:
    printed = {*commands("README.md"), *commands("examples/README.md")}
    assert set(NOT_RUN) <= printed
    assert to_run("README.md")
    assert to_run("examples/README.md")
