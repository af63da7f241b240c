"""The interface of a server under test: logs to read, and events in them."""

from typing import Protocol


class Absent(RuntimeError):
    """A server cannot run here. The message names what to install."""


class Peer(Protocol):
    """A running server. `pids` are the processes whose CPU counts as the server's."""

    name: str
    port: int
    pids: list[int]

    async def open(self, count: int) -> list[str]:
        """Start `logs` new logs, and return the paths at which they are read."""

    async def publish(self, *, rate: float, events: int, group: int = 1) -> None:
        """Write `events` events into each log of the last `open`, at `rate` per second.

        Returns when all are written; raises SourceFailed. `group` events go in one call where the
        server knows such a thing.
        """

    async def close(self) -> None:
        """End the logs of the last `open`."""
