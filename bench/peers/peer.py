"""What the bench asks of a server: logs to read, and events in them."""

from typing import Protocol


class Absent(RuntimeError):
    """A server that cannot run here; the message says what to install."""


class Peer(Protocol):
    """A server that is running. `pids` are the processes whose CPU is the server's."""

    name: str
    port: int
    pids: list[int]

    async def open(self, count: int) -> list[str]:
        """Begin so many new logs; returns the paths they are read at."""

    async def publish(self, *, rate: float, events: int, group: int = 1) -> None:
        """Write `events` events into each log of the last `open`, at `rate` a second.

        Returns when all are written; raises SourceFailed. `group` events go in one call where the
        server knows such a thing.
        """

    async def close(self) -> None:
        """End the logs of the last `open`."""
