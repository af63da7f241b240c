"""Why background tasks fail at the moment.

A background task serves all callers of a process, so no reply of Redis may end the task: an
operator can give a right back, and one foreign key must not stop the rest.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import structlog

from tickertape.broker.errors import AccessDenied, Unavailable, WritesRefused
from tickertape.runtime.logs import traceback_places

log = structlog.get_logger()

_AGAIN_AFTER_S = 60.0


class TaskFaults:
    """The present fault of each background task of a process.

    Each new reason is logged once. A task that fails and works in turn, such as one of whose keys
    one is foreign, logs the same reason again after a minute.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._reasons: dict[str, str] = {}
        self._refused: dict[str, str] = {}
        self._logged_at_s: dict[tuple[str, str], float] = {}

    @property
    def refused(self) -> str | None:
        """The first task that Redis refuses a command to, with Redis' words; None without one.

        Other faults are not listed here, because foreign data under one key must not take a whole
        process out of service.
        """
        return next((f"{task}: {reason}" for task, reason in self._refused.items()), None)

    def is_refused(self, task: str) -> bool:
        """Whether Redis refuses a command to this task."""
        return task in self._refused

    def contain(self, task: str) -> "AbstractContextManager[None, bool]":
        """Run a block of a task, and let no failure of the block out."""
        return self._contain(task)  # type: ignore[return-value]  # it swallows, which mypy cannot see

    @contextmanager
    def _contain(self, task: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # noqa: BLE001  # the purpose
            self.failed(task, error)
        else:
            self.worked(task)

    def failed(self, task: str, error: Exception) -> None:
        """Record that a task failed. The messages of foreign errors may quote a prompt."""
        is_ours = isinstance(error, Unavailable)
        reason = str(error) if is_ours else type(error).__name__
        if self._reasons.get(task) != reason and self._may_log(task, reason):
            places = {} if is_ours else {"at": traceback_places(error)}
            log.warning("a background task failed", task=task, reason=reason, **places)
        self._reasons[task] = reason
        if isinstance(error, (AccessDenied, WritesRefused)):
            self._refused[task] = reason
        else:
            self._refused.pop(task, None)

    def worked(self, task: str) -> None:
        """Record that a task works."""
        if self._reasons and self._reasons.pop(task, None) is not None:
            self._refused.pop(task, None)

    def _may_log(self, task: str, reason: str) -> bool:
        now_s = self._clock()
        logged_at_s = self._logged_at_s.get((task, reason))
        if logged_at_s is not None and now_s - logged_at_s < _AGAIN_AFTER_S:
            return False
        self._logged_at_s = {
            key: at_s for key, at_s in self._logged_at_s.items() if now_s - at_s < _AGAIN_AFTER_S
        } | {(task, reason): now_s}
        return True
