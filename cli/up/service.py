"""A server on this machine that `up` runs for the others: it can come back with another address."""

import contextlib
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Generic, Protocol, TypeVar

from tickertape.runtime.backoff import Backoff

_HEALTHY_S = 60.0


class Running(Protocol):
    """What a started server tells."""

    def exit_code(self) -> int | None:
        """Its return code if it has ended, else None."""
        ...


T = TypeVar("T", bound=Running)


class Service(Generic[T]):
    """`open_server` runs it; `environment_of` says what others need to know to use it.

    `start` blocks, and raises what `open_server` raises.
    """

    def __init__(
        self,
        name: str,
        open_server: Callable[[], AbstractContextManager[T]],
        environment_of: Callable[[T], Mapping[str, str]],
    ) -> None:
        self.name = name
        self.due_s: float | None = None
        self.environment: Mapping[str, str] = {}
        self._open_server = open_server
        self._environment_of = environment_of
        self._resources = contextlib.ExitStack()
        self._server: T | None = None
        self._started_s = 0.0
        self._backoff = Backoff(0.1, 10.0)

    @property
    def server(self) -> T:
        """What was started last."""
        if self._server is None:
            raise RuntimeError(f"{self.name} was not started")
        return self._server

    def start(self) -> None:
        """Start it, or start it again after its end, and set `environment`."""
        self.stop()
        self._server = self._resources.enter_context(self._open_server())
        self.environment = self._environment_of(self._server)
        self.due_s = None
        self._started_s = time.monotonic()

    def exit_code(self) -> int | None:
        """Its return code if it has ended by itself, else None."""
        return None if self._server is None else self._server.exit_code()

    def plan_restart(self) -> float:
        """Set `due_s`; returns the pause in seconds."""
        if time.monotonic() - self._started_s > _HEALTHY_S:
            self._backoff.reset()
        pause_s = self._backoff.next_s()
        self.due_s = time.monotonic() + pause_s
        return pause_s

    def stop(self) -> None:
        """End it in order. Harmless if it has ended."""
        self._resources.close()
