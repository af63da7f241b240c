"""Starts and stops child processes that end with this process."""

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
    """Start `argv` in a new session, so that Ctrl+C in a terminal reaches only this process.

    On Linux, the kernel sends the child SIGTERM when this process dies for any reason. On other
    systems the child must detect that itself. Call it from the main thread; on Linux, other threads
    get a RuntimeError. Raises OSError if the program cannot be started.
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
    """End the child with SIGTERM, and with SIGKILL after `grace_s`. Returns its exit code.

    An interrupt while it waits kills the child too. Does nothing to a child that has ended.
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
    """Describe a return code, for example "exit code 1" or "killed by SIGKILL"."""
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
        # The parent may have died between the fork and prctl. Then the kernel sends no signal.
        if os.getppid() != parent_pid:
            os.kill(os.getpid(), signal.SIGTERM)

    return ask_for_a_signal
