"""When a process that ended is started again."""

import time

from tickertape.runtime.backoff import Backoff

# After a run of this length, the cause of the end was not the start.
_HEALTHY_S = 60.0


class Restart:
    """Plans the restarts of one process.

    Pauses double from `first_s` to `longest_s`, and start over after a run of 60 s.
    """

    def __init__(self, first_s: float, longest_s: float) -> None:
        self.started_s = 0.0
        """When the process was last started, on the clock of time.monotonic."""
        self._due_s: float | None = None
        self._backoff = Backoff(first_s, longest_s)

    def mark_started(self) -> None:
        """Record that the process has started now, and that no restart is planned."""
        self.started_s = time.monotonic()
        self._due_s = None

    def plan(self, *, at_once: bool = False) -> float:
        """Plan a restart, and return the pause until then in seconds."""
        if self.age_s > _HEALTHY_S:
            self._backoff.reset()
        pause_s = 0.0 if at_once else self._backoff.next_s()
        self._due_s = time.monotonic() + pause_s
        return pause_s

    @property
    def is_planned(self) -> bool:
        """Whether the process waits to be started again."""
        return self._due_s is not None

    @property
    def is_due(self) -> bool:
        """Whether the process waits to be started again, and its pause is over."""
        return self._due_s is not None and time.monotonic() >= self._due_s

    @property
    def age_s(self) -> float:
        """Seconds since the last start."""
        return time.monotonic() - self.started_s
