"""Runs several processes of one program: starts them, replaces lost ones, ends them together."""

import itertools
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from types import FrameType
from typing import Any

import structlog

from tickertape.broker.errors import SettingsInvalid
from tickertape.runtime.service_manager import READY, STOPPING, beat_watchdog, notify
from tickertape.runtime.siblings import Siblings
from tickertape.runtime.signs_of_life import SignsOfLife

logger = structlog.get_logger()

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
# What makes a child stop its drain. A second SIGTERM would not do: service managers signal children
# too, so that each gets the first signal twice.
END_AT_ONCE = signal.SIGUSR2
# A forked child has everything that its parent has imported, and a spawned one imports it again.
# The libraries of macOS do not survive a fork.
START_METHOD = "fork" if sys.platform == "linux" else "spawn"

Target = Callable[..., int]

_NAME = "process-"
_SIGNALS = (*STOP_SIGNALS, END_AT_ONCE)
_PARENT_LOOK_S = 0.5
_STARTING_POLL_S = 0.1
_KILLED_WITHIN_S = 1.0
# As `tickertape` ends for a wrong setting.
_WRONG_SETTING = 2


@dataclass(frozen=True)
class ProcessTiming:
    """The pauses and limits of the processes. Tests pass shorter ones."""

    restart_pause_s: float = 1.0
    # The time that a server gives its calls to end.
    drain_s: float = 0.0
    # Longer than the grace of a server for the calls that it cuts.
    end_within_s: float = 8.0
    poll_s: float = 1.0
    # A process whose event loop gives no sign of life for this long is replaced. The streams of a
    # process that is only slow would be broken off for nothing.
    hung_after_s: float = 20.0
    # The same until its first sign. A busy machine takes its time.
    hung_at_start_after_s: float = 120.0


_TIMING = ProcessTiming()


def run_processes(
    count: int,
    target: Target,
    arguments: tuple[object, ...],
    timing: ProcessTiming = _TIMING,
    siblings: Siblings | None = None,
) -> int:
    """Run `target(*arguments)` in `count` processes until a stop signal; returns the exit code.

    A first signal makes the processes drain, and a second one makes them end at once. A process
    that was killed is replaced, and so is one that got a stop signal alone, once it has drained. A
    process that gives no sign of life, by its `siblings`, is killed. A process that exits with
    another code than 0 has found a fatal fault, so all processes are ended and its exit code is
    returned. They also end when this process ends, for whatever reason. A process that does not end
    in time is killed. The service manager gets READY once all processes have reported it.
    """
    return _Processes(target, arguments, timing, siblings).run(count)


class _Processes:
    def __init__(
        self,
        target: Target,
        arguments: tuple[object, ...],
        timing: ProcessTiming = _TIMING,
        siblings: Siblings | None = None,
    ) -> None:
        # A forked child inherits locks that are held, and a running event loop. This process has
        # one thread and no loop.
        self._context: Any = multiprocessing.get_context(START_METHOD)
        self._target = target
        self._arguments = arguments
        self._timing = timing
        self._siblings = siblings
        self._is_ready = siblings is None
        self._signs = SignsOfLife(timing.hung_after_s, timing.hung_at_start_after_s)
        self._looked_s = time.monotonic()
        self._children: list[BaseProcess] = []
        self._end_by_s: float | None = None
        self._is_hurried = False

    def run(self, count: int) -> int:
        former = {
            number: signal.signal(number, self._on_signal)
            for number in STOP_SIGNALS
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN
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
        taken = {child.name for child in self._children}
        child: BaseProcess = self._context.Process(
            name=next(name for name in map(_name, itertools.count()) if name not in taken),
            target=_run,
            args=(self._target, self._arguments, self._timing.end_within_s, os.getpid()),
            daemon=True,
        )
        # A forked child has the handlers of this process, which are not for it, until `_run`.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            child.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        self._children.append(child)
        if self._siblings is not None:
            number = _number(child)
            self._signs.began(number, self._siblings.written_s(number))
        if self._end_by_s is not None:
            # The signal arrived before this child was in the list, so it did not reach it.
            self._signal(child)

    def _supervise(self) -> int:
        while self._children and not self._is_late():
            beat_watchdog()
            # A signal does not end `wait`, so wake up in time to kill children that hang.
            poll_s = self._timing.poll_s if self._is_ready else _STARTING_POLL_S
            wait([child.sentinel for child in self._children], poll_s)
            self._report_ready()
            self._kill_what_hangs()
            ended = [child for child in self._children if child.exitcode is not None]
            for child in ended:
                self._children.remove(child)
                code = child.exitcode or 0
                if self._end_by_s is None and code > 0:
                    return code
                self._replace(child.pid, code)
        return 0

    def _report_ready(self) -> None:
        if not self._is_ready and self._siblings is not None and all(self._siblings.ready):
            self._is_ready = True
            notify(READY)

    def _replace(self, pid: int | None, code: int) -> None:
        """Start a process in place of one that has ended, unless all are to end."""
        if self._end_by_s is not None:
            return
        if code < 0:
            logger.error("process was killed", pid=pid, signal=-code)
        else:
            logger.info("process ended", pid=pid)
        # A stop of all processes may follow at once, if each got the signal.
        time.sleep(self._timing.restart_pause_s)
        if self._end_by_s is None:
            self._start()

    def _kill_what_hangs(self) -> None:
        now_s = time.monotonic()
        # After a stop of this process itself, its children have had no time either.
        elapsed_s = min(now_s - self._looked_s, 2 * self._timing.poll_s)
        self._looked_s = now_s
        siblings = self._siblings
        if siblings is None:
            return
        running = {_number(each): each for each in self._children if each.exitcode is None}
        hanging = self._signs.silent(
            elapsed_s, {each: siblings.written_s(each) for each in running}
        )
        for number, silent_s in hanging.items():
            child = running[number]
            logger.error("process hangs", pid=child.pid, silent_s=round(silent_s, 1))
            child.kill()
            child.join(_KILLED_WITHIN_S)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        del frame
        if self._end_by_s is None:
            notify(STOPPING)
            self._terminate(self._timing.drain_s)
        elif number != signal.SIGHUP:
            self._hurry()

    def _terminate(self, drain_s: float) -> None:
        self._end_by_s = time.monotonic() + drain_s + self._timing.end_within_s
        for child in self._children:
            self._signal(child)

    def _hurry(self) -> None:
        """Make all children end at once."""
        self._is_hurried = True
        self._terminate(0.0)

    def _signal(self, child: BaseProcess) -> None:
        if child.pid is None or child.exitcode is not None:
            return
        # A child takes the second signal from its first moment on only if it also got the first.
        child.terminate()
        if self._is_hurried:
            os.kill(child.pid, END_AT_ONCE)

    def _is_late(self) -> bool:
        return self._end_by_s is not None and time.monotonic() >= self._end_by_s

    def _end(self) -> None:
        if self._end_by_s is None:
            self._hurry()  # because of a fault
        end_by_s = self._end_by_s or 0.0
        for child in self._children:
            child.join(max(0.0, end_by_s - time.monotonic()))
            if child.exitcode is None:
                logger.error("process did not end", pid=child.pid)
                child.kill()
                child.join()


def _name(number: int) -> str:
    return f"{_NAME}{number}"


def _number(process: BaseProcess) -> int:
    return int(process.name.removeprefix(_NAME))


def number_of_process() -> int:
    """The number of this child, from 0 on. A child that replaces another one has its number."""
    return _number(multiprocessing.current_process())


def _run(
    target: Target, arguments: tuple[object, ...], end_within_s: float, parent_pid: int
) -> None:
    for number in _SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    threading.Thread(
        target=_end_with_parent,
        args=(parent_pid, end_within_s),
        name="end with parent",
        daemon=True,
    ).start()
    try:
        code = target(*arguments)
    except SettingsInvalid as invalid:
        logger.error("giving up", reason=str(invalid))  # noqa: TRY400  # expected, and for people
        code = _WRONG_SETTING
    except Exception:
        # `multiprocessing` would print the error, whose text may quote a prompt or a key.
        logger.exception("the program crashed")
        code = 1
    raise SystemExit(code)


def _end_with_parent(parent_pid: int, end_within_s: float) -> None:
    # `multiprocessing` has a pipe for this, of which a forked sibling holds the other end open.
    while os.getppid() == parent_pid:
        time.sleep(_PARENT_LOOK_S)
    os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), END_AT_ONCE)
    # A hanging event loop ignores the signal and would keep the socket from the next process.
    time.sleep(end_within_s)
    os.kill(os.getpid(), signal.SIGKILL)
