"""How many readers a conversation has, over all API processes.

Each process keeps one field in the hash of a conversation that it watches: its count, and until
when the count holds. A field that is over does not count, so a killed process disappears without
help. The clock of Redis decides, whatever the clocks of the processes say.
"""

import time
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from tickertape.broker.connections import Connections

ConversationPlace: TypeAlias = tuple[int, str]
"""The partition and the key of a conversation."""


class WatcherCounts:
    """Writes the counts of one process and reads the sums. Raises Unavailable."""

    def __init__(self, connections: Connections, process: str) -> None:
        self._connections = connections
        self._keys = connections.keys
        self._process = process
        self._ahead_s: float | None = None

    async def exchange(
        self,
        counts: Mapping[ConversationPlace, int],
        places: Sequence[ConversationPlace],
        valid_s: float,
    ) -> dict[ConversationPlace, int]:
        """Write `counts`, each valid for `valid_s`; return the readers of `places` elsewhere.

        A count of 0 is removed. One round trip, with at most three commands for each conversation.
        """
        if self._ahead_s is None:
            self._learn_time(await self._connections.ask("TIME"))
        commands: list[tuple[str | bytes | float, ...]] = [("TIME",)]
        for place, count in counts.items():
            commands += self._written(place, count, valid_s)
        written = len(commands)
        commands += [("HGETALL", self._keys.watchers(*place)) for place in places]
        replies = await self._connections.ask_all(commands)
        self._learn_time(replies[0])
        return {
            place: self._elsewhere(reply)
            for place, reply in zip(places, replies[written:], strict=True)
        }

    def _written(
        self, place: ConversationPlace, count: int, valid_s: float
    ) -> list[tuple[str | bytes | float, ...]]:
        key = self._keys.watchers(*place)
        if not count:
            return [("HDEL", key, self._process)]
        value = f"{count}:{int(self._now_s() + valid_s)}"
        # A field of another process may hold longer, so the key lives longer than all of them.
        return [("HSET", key, self._process, value), ("EXPIRE", key, int(4 * valid_s) + 60)]

    def _elsewhere(self, reply: dict[bytes, bytes]) -> int:
        now_s = self._now_s()
        return sum(
            count
            for process, value in reply.items()
            if process.decode() != self._process
            for count, until_s in [_parsed(value)]
            if until_s > now_s
        )

    def _learn_time(self, reply: tuple[int, int]) -> None:
        self._ahead_s = reply[0] + reply[1] / 1e6 - time.monotonic()

    def _now_s(self) -> float:
        return time.monotonic() + (self._ahead_s or 0.0)


def _parsed(value: bytes) -> tuple[int, float]:
    count, _, until_s = value.partition(b":")
    return (int(count), float(until_s)) if count.isdigit() and until_s.isdigit() else (0, 0.0)
