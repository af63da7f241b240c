"""A child process ends when it is stopped, and when its parent ends."""

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from tickertape.cli.up.spawn import describe_exit, spawn, stop

STUBBORN = "trap '' TERM; echo ready; while :; do sleep 0.05; done"


@pytest.fixture
def stubborn() -> Iterator[subprocess.Popen[bytes]]:
    """A process that ignores SIGTERM."""
    process = spawn(["sh", "-c", STUBBORN], stdout=subprocess.PIPE)
    assert process.stdout is not None
    with process:
        assert process.stdout.readline() == b"ready\n"
        yield process
        process.kill()


def test_a_child_that_heeds_sigterm_is_not_killed() -> None:
    assert stop(spawn(["sleep", "60"])) == -signal.SIGTERM


def test_a_child_that_ignores_sigterm_is_killed(stubborn: subprocess.Popen[bytes]) -> None:
    assert stop(stubborn, grace_s=0.05) == -signal.SIGKILL


def test_an_interrupted_stop_leaves_nothing_behind(
    stubborn: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    real_wait = stubborn.wait

    def interrupted_once(timeout: float | None = None) -> int:
        if timeout is not None:
            raise KeyboardInterrupt
        return real_wait()

    monkeypatch.setattr(stubborn, "wait", interrupted_once)
    with pytest.raises(KeyboardInterrupt):
        stop(stubborn)
    assert stubborn.returncode == -signal.SIGKILL


def test_stopping_an_ended_child_returns_its_exit_code() -> None:
    process = spawn(["sh", "-c", "exit 3"])
    process.wait()
    assert stop(process) == 3


@pytest.mark.skipif(sys.platform != "linux", reason="the signal at a parent's death is Linux's")
def test_a_child_is_not_started_from_a_thread_whose_end_would_kill_it() -> None:
    failures: list[BaseException] = []

    def start() -> None:
        try:
            spawn(["true"])
        except RuntimeError as error:
            failures.append(error)

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    assert "main thread" in str(failures[0])


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (0, "exit code 0"),
        (3, "exit code 3"),
        (-9, "killed by SIGKILL"),
        (-99, "killed by signal 99"),
    ],
)
def test_an_exit_is_described_in_words(code: int, words: str) -> None:
    assert describe_exit(code) == words
