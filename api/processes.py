"""Several processes on one listening socket: started, replaced when killed, and ended together."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from types import FrameType
from typing import Any

import structlog

log = structlog.get_logger("api")

_RESTART_PAUSE_S = 1.0
# Beyond the grace that a server gives its own calls.
_END_WITHIN_S = 10.0

Target = Callable[..., int]


def run_processes(count: int, target: Target, arguments: tuple[Any, ...]) -> int:
    """Run `target(*arguments)` in `count` processes until SIGTERM or SIGINT; returns the exit code.

    One that is killed is replaced. One that ends by itself has found that it must not go on: then
    all end, and its code is returned. They end when this process does, however it ends.
    """
    return _Processes(target, arguments).run(count)


class _Processes:
    def __init__(self, target: Target, arguments: tuple[Any, ...]) -> None:
        # Spawned, not forked: no child inherits a lock or a loop in the middle of something.
        self._context = multiprocessing.get_context("spawn")
        self._target = target
        self._arguments = arguments
        self._children: list[SpawnProcess] = []
        self._is_stopping = False

    def run(self, count: int) -> int:
        former = {
            number: signal.signal(number, self._on_signal)
            for number in (signal.SIGTERM, signal.SIGINT)
        }
        try:
            for _ in range(count):
                self._start()
            return self._mind()
        finally:
            self._end()
            for number, handler in former.items():
                signal.signal(number, handler)

    def _start(self) -> None:
        child = self._context.Process(
            target=_run, args=(self._target, self._arguments), daemon=True
        )
        child.start()
        self._children.append(child)
        if self._is_stopping:
            # The signal came after the start and before the line above: it passed this child by.
            child.terminate()

    def _mind(self) -> int:
        while self._children:
            # No time-out: at a signal the handler ends the children, and that wakes us.
            wait([child.sentinel for child in self._children])
            ended = [child for child in self._children if child.exitcode is not None]
            for child in ended:
                self._children.remove(child)
                code = child.exitcode or 0
                if self._is_stopping:
                    continue
                if code >= 0:
                    return code
                log.error("process was killed", pid=child.pid, signal=-code)
                time.sleep(_RESTART_PAUSE_S)
                self._start()
        return 0

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self._terminate()

    def _terminate(self) -> None:
        self._is_stopping = True
        for child in self._children:
            child.terminate()

    def _end(self) -> None:
        self._terminate()
        deadline_s = time.monotonic() + _END_WITHIN_S
        for child in self._children:
            child.join(max(0.0, deadline_s - time.monotonic()))
            if child.exitcode is None:
                child.kill()
                child.join()


def _run(target: Target, arguments: tuple[Any, ...]) -> None:
    threading.Thread(target=_end_with_parent, name="end with parent", daemon=True).start()
    raise SystemExit(target(*arguments))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
