"""The tests of the example agent, and of the one in the tutorial, pass beside nothing but these."""

import asyncio
import os
import re
import sys
from pathlib import Path

import pytest

from tests.support.packages import ROOT

pytestmark = pytest.mark.slow


async def output_of_tests(folder: Path) -> bytes:
    """What pytest prints for test_agent.py in a folder; fails if a test does."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_agent.py"]
    # The plugins of this project's tests take most of the time, and users have other ones.
    env = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    program = await asyncio.create_subprocess_exec(
        *command,
        "--rootdir",
        ".",
        "-c",
        os.devnull,
        cwd=folder,
        env=env,
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await program.communicate()
    assert program.returncode == 0, output.decode()
    return output


async def test_the_tests_of_the_example_agent_pass() -> None:
    assert b"3 passed" in await output_of_tests(ROOT / "examples")


async def test_the_agent_and_the_test_of_the_tutorial_do_what_it_says(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "tutorial.md").read_text("utf-8")
    agent, test = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (tmp_path / "agent.py").write_text(agent)
    (tmp_path / "test_agent.py").write_text(test)
    assert b"1 passed" in await output_of_tests(tmp_path)
