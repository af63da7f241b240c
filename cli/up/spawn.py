"""Starts and stops a child process that never outlives us. Knows nothing of what the child does."""

import ctypes
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

_PR_SET_PDEATHSIG = 1
# Resolved before any fork: a child between fork and exec must not take the loader's locks.
_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def spawn(
    argv: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: int | IO[bytes] = subprocess.DEVNULL,
    stdout: int | IO[bytes] | None = None,
    stderr: int | IO[bytes] | None = None,
    pass_fds: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Start `argv` in its own session, so that Ctrl+C in a terminal reaches only us.

    On Linux the kernel sends the child SIGTERM when we die, whatever kills us. Elsewhere nothing
    does, and the child must find out for itself. Raises OSError if the program cannot be started,
    RuntimeError if called from any thread but the main one.
    """
    if _LIBC is not None and threading.current_thread() is not threading.main_thread():
        # The kernel's "parent" is the thread that forked: a child started from a pool would be
        # killed when its pool thread ends. See prctl(2), PR_SET_PDEATHSIG.
        raise RuntimeError("start child processes from the main thread")
    return subprocess.Popen(
        argv,
        cwd=cwd,
        env=env,
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        pass_fds=pass_fds,
        start_new_session=True,
        preexec_fn=_die_with(os.getpid()),  # noqa: PLW1509  # takes no lock: two resolved calls
    )


def stop(process: subprocess.Popen[bytes], *, grace_s: float = 10) -> int:
    """End the child: SIGTERM, then SIGKILL after `grace_s`. Returns its exit code.

    Nothing is left behind even if we are interrupted while waiting. Harmless on an ended child.
    """
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(grace_s)
        except subprocess.TimeoutExpired:
            process.kill()
        except BaseException:
            process.kill()
            process.wait()
            raise
    return process.wait()


def describe_exit(code: int) -> str:
    """Say how a process ended in words, from its return code."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"


def _die_with(parent_pid: int) -> Callable[[], None] | None:
    libc = _LIBC
    if libc is None:
        return None

    def ask_for_a_signal() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        # We may have died between the fork and the call above: then no signal will ever come.
        if os.getppid() != parent_pid:
            os.kill(os.getpid(), signal.SIGTERM)

    return ask_for_a_signal
