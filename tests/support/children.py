"""Programs of child processes in tests; imports nothing slow, because each child imports it."""

import os
import signal
import sys
import time
from pathlib import Path

from tickertape.runtime.processes import number_of_process
from tickertape.runtime.siblings import Siblings


def serve(directory: str, *, ignores_sigterm: bool = False) -> int:
    """Write a file named after our process id, then wait for a signal."""
    if ignores_sigterm:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.alarm(60)  # a failed test leaves no process behind
    Path(directory, str(os.getpid())).touch()
    while True:
        signal.pause()


def serve_and_drain(directory: str) -> int:
    """As `serve`, and end in order at a stop signal."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    signal.alarm(60)
    Path(directory, str(os.getpid())).touch()
    while True:
        signal.pause()


def serve_stubbornly(directory: str) -> int:
    """As `serve`, but only SIGKILL ends it."""
    return serve(directory, ignores_sigterm=True)


def serve_with_signs(directory: str, siblings: Siblings) -> int:
    """As `serve`, and give a sign of life a hundred times a second."""
    signal.alarm(60)
    siblings.join(number_of_process())
    siblings.write(b"alive")
    Path(directory, str(os.getpid())).touch()
    while True:
        time.sleep(0.01)
        siblings.write(b"alive")


def serve_when_allowed(directory: str, siblings: Siblings) -> int:
    """As `serve`; the second process is ready only once the directory has the file `go`."""
    siblings.join(number_of_process())
    Path(directory, str(os.getpid())).touch()
    while number_of_process() == 1 and not Path(directory, "go").exists():
        time.sleep(0.01)
    siblings.report_ready()
    return serve(directory)


def give_up(code: int) -> int:
    """End at once with this code."""
    return code
