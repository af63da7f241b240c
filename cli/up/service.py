"""A server that `up` runs for its other processes, and that may restart with another address."""

import contextlib
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Generic, Protocol, TypeVar

from tickertape.cli.up.restart import Restart


class Server(Protocol):
    """A started server."""

    def exit_code(self) -> int | None:
        """Its return code if it has ended, else None."""
        ...


T = TypeVar("T", bound=Server)


class Service(Generic[T]):
    """Runs the server that `open_server` opens.

    `environment_of` returns the variables with which other processes reach it.
    """

    def __init__(
        self,
        name: str,
        open_server: Callable[[], AbstractContextManager[T]],
        environment_of: Callable[[T], Mapping[str, str]],
    ) -> None:
        self.name = name
        self.environment: Mapping[str, str] = {}
        self.restart = Restart(0.1, 10.0)
        self._open_server = open_server
        self._environment_of = environment_of
        self._resources = contextlib.ExitStack()
        self._server: T | None = None

    @property
    def server(self) -> T:
        """The server that was started last."""
        if self._server is None:
            raise RuntimeError(f"{self.name} was not started")
        return self._server

    def start(self) -> None:
        """Start the server, also after its end, and set `environment`.

        Blocks until the server answers. Raises what `open_server` raises.
        """
        self.stop()
        self._server = self._resources.enter_context(self._open_server())
        self.environment = self._environment_of(self._server)
        self.restart.mark_started()

    def exit_code(self) -> int | None:
        """The server's return code if it ended by itself, else None."""
        return None if self._server is None else self._server.exit_code()

    def stop(self) -> None:
        """End the server in order. Does nothing if it has ended."""
        self._resources.close()
