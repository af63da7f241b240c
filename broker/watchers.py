"""How many readers a conversation has, over all API processes.

Each process keeps one field in the hash of a conversation that it watches: its count, and until
when the count holds. A field that is over does not count, so a killed process disappears without
help. The clock of Redis decides, whatever the clocks of the processes say.
"""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from tickertape.broker.connections import Connections
from tickertape.broker.lua import Scripts

ConversationPlace: TypeAlias = tuple[int, str]
"""The partition and the key of a conversation."""


class WatcherCounts:
    """Writes the counts of one process and reads the sums. Raises Unavailable."""

    def __init__(self, connections: Connections, process: str) -> None:
        self._keys = connections.keys
        self._scripts = Scripts(connections.commands)
        self._process = process

    async def exchange(
        self,
        counts: Mapping[ConversationPlace, int],
        places: Sequence[ConversationPlace],
        valid_s: float,
    ) -> dict[ConversationPlace, int]:
        """Write `counts`, each valid for `valid_s`; return the readers of `places` elsewhere.

        A count of 0 is removed. `counts` are of some of the `places`. One round trip for each
        partition.
        """
        partitions: dict[int, list[ConversationPlace]] = {}
        for place in places:
            partitions.setdefault(place[0], []).append(place)
        elsewhere: dict[ConversationPlace, int] = {}
        for partition, here in partitions.items():
            values = [value for place in here for value in (place[1], counts.get(place, ""))]
            sums = await self._scripts.call(
                "watch",
                [self._keys.ring(partition)],
                *values,
                process=self._process,
                valid_s=int(valid_s),
            )
            elsewhere |= zip(here, sums, strict=True)
        return elsewhere
