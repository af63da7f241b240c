"""Programs of child processes in tests; imports nothing slow, because each child imports it."""

import os
import signal
from pathlib import Path


def serve(directory: str, *, ignores_sigterm: bool = False) -> int:
    """Write a file named after our process id, then wait for a signal."""
    if ignores_sigterm:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.alarm(60)  # a failed test leaves no process behind
    Path(directory, str(os.getpid())).touch()
    while True:
        signal.pause()


def serve_stubbornly(directory: str) -> int:
    """As `serve`, but only SIGKILL ends it."""
    return serve(directory, ignores_sigterm=True)


def give_up(code: int) -> int:
    """End at once with this code."""
    return code
