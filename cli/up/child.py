"""One process that `up` keeps running: how it starts, what it logs, and how it ends."""

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tickertape.cli.exits import CommandFailed, Exit
from tickertape.cli.up.log_tail import LogTail, put_aside_if_large, record_of
from tickertape.cli.up.restart import Restart
from tickertape.cli.up.spawn import spawn
from tickertape.cli.up.upstream_state import UPSTREAM_EVENTS

# A first start that fails this early would fail again.
_START_S = 10.0


class ChildProcess:
    """Call every method from the main thread, as `spawn` requires."""

    def __init__(
        self, name: str, argv: Sequence[str], log_path: Path, *, ready_event: str | None = None
    ) -> None:
        self.name = name
        self.is_ready = False
        """Whether the process has logged `ready_event` since its last start."""
        self.functions: tuple[str, ...] = ()
        """The functions that the process runs, as its `ready_event` names them."""
        self.upstream_record: Mapping[str, Any] | None = None
        """The latest record in which the process reports the state of the upstream."""
        self.log_path = log_path
        self.environment: Mapping[str, str] = {}
        self.restart = Restart(0.5, 30.0)
        self.is_replaced = False
        """Whether `replace` asked the process to end."""
        self._ready_event = ready_event
        self._argv = argv
        self._process: subprocess.Popen[bytes] | None = None
        self._starts = 0
        put_aside_if_large(log_path)
        self.tail = LogTail(log_path)

    def start(self, environment: Mapping[str, str]) -> None:
        """Start the process. Raises CommandFailed if its program cannot be run."""
        self.environment = environment
        self.is_replaced = False
        self.is_ready = False
        self.upstream_record = None
        self._starts += 1
        self.restart.mark_started()
        try:
            with self.log_path.open("ab") as log:
                self._process = spawn(self._argv, env=environment, stdout=log, stderr=log)
        except OSError as error:
            raise CommandFailed(f"{self.name} cannot be started: {error}") from None

    def new_lines(self) -> list[str]:
        """The lines logged since the last call. Updates the attributes that they report."""
        lines = self.tail.lines()
        for record in map(record_of, lines):
            event = record.get("event")
            if event == self._ready_event is not None:
                self.is_ready = True
                self.functions = tuple(map(str, record.get("functions") or ()))
            if event in UPSTREAM_EVENTS:
                self.upstream_record = record
        return lines

    def exit_code(self) -> int | None:
        """The return code of the process if it has ended, else None."""
        return None if self._process is None else self._process.poll()

    @property
    def is_running(self) -> bool:
        """Whether the process was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def cannot_start(self, code: int) -> bool:
        """Whether a restart would fail again, after an end with this return code."""
        if code == Exit.USAGE:  # a setting is wrong
            return True
        return self._starts == 1 and code > 0 and self.restart.age_s < _START_S

    def plan_restart(self) -> float:
        """Plan the next start, at once after `replace`; returns the pause in seconds."""
        return self.restart.plan(at_once=self.is_replaced)

    def replace(self, environment: Mapping[str, str]) -> None:
        """Ask the process to end, so that it is started again with another environment."""
        self.environment = environment
        self.is_replaced = True
        self.terminate()

    def terminate(self) -> None:
        """Ask the process to end. Does nothing if it has ended."""
        if self._process is not None:
            self._process.terminate()

    def kill(self) -> None:
        """Kill the process and wait for its end. Does nothing if it has ended."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
