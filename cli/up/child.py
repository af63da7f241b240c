"""One process that `up` keeps running: its log, its ends, and when it may be started again."""

import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tickertape.cli.exits import CommandFailed
from tickertape.cli.up.log_tail import LogTail, event_of, put_aside_if_large
from tickertape.cli.up.spawn import spawn
from tickertape.runtime.backoff import Backoff

# A process that gives up by itself this early would only do so again.
_START_S = 10.0
# One that ran for this long did not die of how it was started.
_HEALTHY_S = 60.0
_LONGEST_PAUSE_S = 30.0


class ChildProcess:
    """Started, looked at and stopped from the main thread, as cli.child demands."""

    def __init__(
        self, name: str, argv: Sequence[str], log_path: Path, *, ready_event: str | None = None
    ) -> None:
        self.name = name
        self.is_ready = False
        """Whether it has logged `ready_event` since it was started last."""
        self.log_path = log_path
        self.environment: Mapping[str, str] = {}
        self.due_s: float | None = None
        """When to start it again, on the clock of time.monotonic; None while it runs."""
        self._ready_event = ready_event
        self._argv = argv
        self._process: subprocess.Popen[bytes] | None = None
        self._starts = 0
        self._started_s = 0.0
        self._is_replaced = False
        self._backoff = Backoff(0.5, _LONGEST_PAUSE_S)
        put_aside_if_large(log_path)
        self.tail = LogTail(log_path)

    def start(self, environment: Mapping[str, str]) -> None:
        """Start it. Raises CommandFailed."""
        self.environment = environment
        self.due_s = None
        self._is_replaced = False
        self.is_ready = False
        self._starts += 1
        self._started_s = time.monotonic()
        try:
            with self.log_path.open("ab") as log:
                self._process = spawn(self._argv, env=environment, stdout=log, stderr=log)
        except OSError as error:
            raise CommandFailed(f"{self.name} cannot be started: {error}") from None

    def new_lines(self) -> list[str]:
        """What it has logged since the last call."""
        lines = self.tail.lines()
        if not self.is_ready:
            self.is_ready = any(event_of(line) == self._ready_event for line in lines)
        return lines

    def exit_code(self) -> int | None:
        """Its return code if it has ended, else None."""
        return None if self._process is None else self._process.poll()

    @property
    def is_running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def cannot_start(self, code: int) -> bool:
        """Whether its end means that starting it again is of no use."""
        if code == 2:  # what all our commands end with when a setting is wrong
            return True
        age_s = time.monotonic() - self._started_s
        return self._starts == 1 and code > 0 and age_s < _START_S

    def plan_restart(self) -> float:
        """Set `due_s`; returns the pause in seconds."""
        if time.monotonic() - self._started_s > _HEALTHY_S:
            self._backoff.reset()
        pause_s = 0.0 if self._is_replaced else self._backoff.next_s()
        self.due_s = time.monotonic() + pause_s
        return pause_s

    def replace(self, environment: Mapping[str, str]) -> None:
        """Ask it to end, so that it is started again with another environment."""
        self.environment = environment
        self._is_replaced = True
        self.terminate()

    @property
    def is_replaced(self) -> bool:
        """Whether its end was asked for by `replace`."""
        return self._is_replaced

    def terminate(self) -> None:
        """Ask it to end. Harmless if it has."""
        if self._process is not None:
            self._process.terminate()

    def kill(self) -> None:
        """End it now and wait for that. Harmless if it has ended."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
