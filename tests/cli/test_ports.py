"""A port in use: the error names another one as it is typed. `make run` passes a port on."""

import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from tickertape.cli.exits import CommandFailed
from tickertape.cli.up.ports import find_port


@pytest.mark.parametrize(
    ("typed", "words"), [("", r"--port (\d+)\."), ("make run", r"make run PORT=(\d+)\.")]
)
def test_a_port_in_use_is_answered_with_what_to_type(typed: str, words: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(CommandFailed, match=words) as refused:
            find_port("127.0.0.1", port, typed=typed)
    assert f"port {port}: Address already in use" in str(refused.value)


def test_a_host_that_is_not_of_this_machine_is_named() -> None:
    with pytest.raises(CommandFailed, match=r"--host"):
        find_port("192.0.2.1", 8000)


@pytest.mark.skipif(shutil.which("make") is None, reason="make is missing")
@pytest.mark.parametrize(
    ("given", "passed"),
    [
        (["PORT=9000"], "--port=9000"),
        (["ARGS=--port 9001"], "--port 9001"),
        (["PORT=9000", "ARGS=--workers 2"], "--port=9000 --workers 2"),
    ],
)
def test_make_run_takes_a_port_and_arguments(given: list[str], passed: str) -> None:
    root = Path(__file__).parents[2]
    # These tests may run under a make whose flags and variables this one must not inherit.
    environment = {name: value for name, value in os.environ.items() if "MAKE" not in name}
    environment.pop("ARGS", None)
    printed = subprocess.run(
        ["make", "--no-print-directory", "-n", "run", *given],
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert " ".join(printed.splitlines()[-1].split()).endswith(passed)
