"""The tests of the example agent pass, in a process that has nothing but the examples' folder."""

import asyncio
import os
import sys

import pytest

from tests.support.packages import ROOT

pytestmark = pytest.mark.slow


async def test_the_tests_of_the_example_agent_pass() -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_agent.py"]
    options = ["--rootdir", ".", "-c", os.devnull]
    program = await asyncio.create_subprocess_exec(
        *command, *options, cwd=ROOT / "examples", stdout=asyncio.subprocess.PIPE
    )
    output, _ = await program.communicate()
    assert program.returncode == 0, output.decode()
    assert b"3 passed" in output
