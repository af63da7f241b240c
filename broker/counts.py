"""Counts the unfinished requests again, because Redis may have lost some of them."""

from tickertape.broker.connections import Connections
from tickertape.broker.lua import Scripts
from tickertape.runtime.settings import Settings

EVERY_S = 60.0
# Redis serves nobody else while a script runs: this many requests take 10 to 20 ms.
MOST_REQUESTS = 2000


class Counts:
    """The counts that the limits of the queue are checked against."""

    def __init__(self, connections: Connections, settings: Settings) -> None:
        self._keys = connections.keys
        self._settings = settings
        self._scripts = Scripts(connections.commands)

    async def recount(self, partition: int, *, every_s: float = EVERY_S) -> bool:
        """Correct the counts of a partition, once in `every_s` for all workers together.

        Returns whether this call has counted. Raises Unavailable.
        """
        word, _ = await self._scripts.verdict(
            "recount",
            [self._keys.ring(partition)],
            every_ms=int(every_s * 1000),
            most=MOST_REQUESTS,
            retention_s=self._settings.retention_s,
            conversation_ttl_s=self._settings.conversation_ttl_s,
        )
        return word == "OK"
