"""Runs several processes on one socket: starts them, replaces killed ones, ends them together."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from types import FrameType

import structlog

logger = structlog.get_logger("api")

Target = Callable[..., int]


@dataclass(frozen=True)
class ProcessTiming:
    """The pauses and limits of the processes. Tests pass shorter ones."""

    restart_pause_s: float = 1.0
    # Longer than the grace of a server for its calls, and shorter than that of service managers.
    end_within_s: float = 8.0
    poll_s: float = 1.0


_TIMING = ProcessTiming()


def run_processes(
    count: int,
    target: Target,
    arguments: tuple[object, ...],
    timing: ProcessTiming = _TIMING,
) -> int:
    """Run `target(*arguments)` in `count` processes until SIGTERM or SIGINT; returns the exit code.

    A killed process is replaced. A process that exits by itself has found a fatal fault, so all
    processes are ended and its exit code is returned. They also end when this process ends, for
    whatever reason. A process that does not end in time is killed.
    """
    return _Processes(target, arguments, timing).run(count)


class _Processes:
    def __init__(
        self, target: Target, arguments: tuple[object, ...], timing: ProcessTiming = _TIMING
    ) -> None:
        # A forked child could inherit a held lock or a running event loop; a spawned one cannot.
        self._context = multiprocessing.get_context("spawn")
        self._target = target
        self._arguments = arguments
        self._timing = timing
        self._children: list[SpawnProcess] = []
        self._end_by_s: float | None = None

    def run(self, count: int) -> int:
        former = {
            number: signal.signal(number, self._on_signal)
            for number in (signal.SIGTERM, signal.SIGINT)
        }
        try:
            for _ in range(count):
                self._start()
            return self._supervise()
        finally:
            self._end()
            for number, handler in former.items():
                signal.signal(number, handler)

    def _start(self) -> None:
        child = self._context.Process(
            target=_run,
            args=(self._target, self._arguments, self._timing.end_within_s),
            daemon=True,
        )
        child.start()
        self._children.append(child)
        if self._end_by_s is not None:
            # The signal arrived before this child was in the list, so it did not reach it.
            child.terminate()

    def _supervise(self) -> int:
        while self._children and not self._is_late():
            # A signal does not end `wait`, so wake up in time to kill children that hang.
            wait([child.sentinel for child in self._children], self._timing.poll_s)
            ended = [child for child in self._children if child.exitcode is not None]
            for child in ended:
                self._children.remove(child)
                code = child.exitcode or 0
                if self._end_by_s is not None:
                    continue
                if code >= 0:
                    return code
                logger.error("process was killed", pid=child.pid, signal=-code)
                time.sleep(self._timing.restart_pause_s)
                self._start()
        return 0

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self._terminate()

    def _terminate(self) -> float:
        """Signal all children to end; returns their deadline, which the first call sets."""
        if self._end_by_s is None:
            self._end_by_s = time.monotonic() + self._timing.end_within_s
        for child in self._children:
            child.terminate()
        return self._end_by_s

    def _is_late(self) -> bool:
        return self._end_by_s is not None and time.monotonic() >= self._end_by_s

    def _end(self) -> None:
        end_by_s = self._terminate()
        for child in self._children:
            child.join(max(0.0, end_by_s - time.monotonic()))
            if child.exitcode is None:
                logger.error("process did not end", pid=child.pid)
                child.kill()
                child.join()


def _run(target: Target, arguments: tuple[object, ...], end_within_s: float) -> None:
    threading.Thread(
        target=_end_with_parent, args=(end_within_s,), name="end with parent", daemon=True
    ).start()
    raise SystemExit(target(*arguments))


def _end_with_parent(end_within_s: float) -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
        # A hanging event loop ignores the signal and would keep the socket from the next process.
        time.sleep(end_within_s)
        os.kill(os.getpid(), signal.SIGKILL)
