"""Tickertape's programs as processes that are killed, paused and restarted many times a minute.

They are forked from a process that has imported everything, because importing costs a second of CPU
each time. Apart from that they are the programs that `tickertape` starts: `tests.support.programs`.
"""

import asyncio
import contextlib
import ctypes
import multiprocessing
import os
import signal
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from types import FrameType
from typing import Any

from tests.support.programs import ProgramLog, environment
from tests.support.wait import wait_until
from tickertape.cli.main import main

_IMPORTED = [
    "tickertape.cli.serve",
    "tickertape.worker.main",
    "tickertape.api.serving.server",
    "uvloop",
    "tests.chaos.functions",
    "tests.chaos.lossy_api",
    "tests.chaos.handing_on",
]
_END_S = 20
_TELLS_WITHIN_S = 2.0
_SHOWN_LINES = 300
_PR_SET_PDEATHSIG = 1
_CONTEXT = multiprocessing.get_context("forkserver")

# Changes a program before it runs, so that a control run can break an invariant.
Prepare = Callable[[], None]


class Member(ProgramLog):
    """One program, with the same name, settings and log over all restarts."""

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        directory: Path,
        settings: Mapping[str, str],
        prepare: Prepare | None = None,
    ) -> None:
        super().__init__(name, directory)
        self._arguments = (list(argv), environment(**settings), self.log_path, prepare)
        self._process: ForkServerProcess | None = None

    @property
    def is_running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.is_alive()

    @property
    def has_begun(self) -> bool:
        """Whether it handles SIGTERM, or has ended. A process forked just now may not."""
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            return handles(signal.SIGTERM, Path(f"/proc/{self.pid}/status").read_text("utf-8"))
        return True

    @property
    def pid(self) -> int:
        """Of the process that was started last."""
        assert self._process is not None, f"{self.name} was never started"
        assert self._process.pid is not None
        return self._process.pid

    def start(self) -> None:
        """Start it; it must have ended."""
        assert not self.is_running, f"{self.name} runs"
        self._process = _CONTEXT.Process(target=_run, args=self._arguments, name=self.name)
        self._process.start()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal; nothing happens if it has ended."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    async def kill(self) -> None:
        """SIGKILL, and wait until it is dead."""
        self.signal(signal.SIGKILL)
        await self.ended()

    async def ended(self, timeout_s: float = _END_S) -> int | None:
        """The exit code once the process has ended; None after a time-out, reported in its log."""
        assert self._process is not None
        # Only this thread waits for the process: of two concurrent waits, one gets the exit code
        # 255. multiprocessing waits for all its children at each start.
        try:
            await wait_until(
                lambda: not self.is_running, timeout_s=timeout_s, description=f"{self.name} to end"
            )
        except AssertionError:
            self.signal(signal.SIGUSR1)
            return None
        return self._process.exitcode

    async def diagnosis(self) -> str:
        """A readable report: whether the process runs, its stack, and its last log records."""
        if self.is_running:
            self.signal(signal.SIGUSR1)
            await asyncio.sleep(_TELLS_WITHIN_S)
        state = (
            "runs" if self.is_running else f"ended with {self._process and self._process.exitcode}"
        )
        return "\n".join([f"{self.name} {state}", *self.lines()[-_SHOWN_LINES:]])

    def is_harmless(self, record: dict[str, Any]) -> bool:
        """An API process that is stopped cuts calls off that have waited too long for Redis.

        A worker that was paused blames the function that was running at that moment.
        """
        event = str(record.get("event"))
        is_announced = event.startswith("Cancel ") or event == "function blocks the event loop"
        return is_announced or record.get("error") == "CancelledError"


def handles(number: signal.Signals, status: str) -> bool:
    """Pure: whether a process handles a signal, or has ended; `status` is that of /proc."""
    caught = status.partition("SigCgt:")[2].split()
    return not caught or bool(int(caught[0], 16) >> (number - 1) & 1)


def preload() -> None:
    """Let the process that all others are forked from import what they need."""
    main_module = "pytest" if "pytest" in sys.modules else "tests.chaos.run"
    _CONTEXT.set_forkserver_preload([*_IMPORTED, main_module])


def _run(argv: list[str], environ: dict[str, str], log_path: Path, prepare: Prepare | None) -> None:
    os.environ.clear()
    os.environ.update(environ)
    os.chdir(log_path.parent)
    # SIGKILL, because a paused process reacts to no other signal.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    log = os.open(log_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    for number in (1, 2):
        os.dup2(log, number)
    signal.signal(signal.SIGUSR1, _dump_stacks)
    if prepare is not None:
        prepare()
    sys.exit(main(argv))


def _dump_stacks(_: int, frame: FrameType | None) -> None:
    traceback.print_stack(frame)
    with contextlib.suppress(RuntimeError):  # no event loop
        for task in asyncio.all_tasks():
            task.print_stack()
