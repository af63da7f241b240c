"""States of conversations, by which readers see that they need not read the turns again."""

from collections.abc import Sequence
from dataclasses import dataclass

from tickertape.broker.connections import Connections
from tickertape.broker.lua import Scripts


@dataclass(frozen=True, slots=True)
class ConversationState:
    """Differs from an earlier state of the conversation if the title or the turns changed since.

    Without such a conversation, `rows` is 0 and `title` is None. `marks` has the active request,
    the times at which requests last began and ended, and the number of turns.
    """

    rows: int
    title: str | None
    marks: tuple[bytes, ...]


class ConversationStates:
    """Reads states. Raises Unavailable when Redis does not answer."""

    def __init__(self, connections: Connections) -> None:
        self._keys = connections.keys
        self._scripts = Scripts(connections.commands)

    async def read(self, partition: int, keys: Sequence[str]) -> list[ConversationState]:
        """The states of conversations of one partition, by their short keys, in one small reply."""
        replies = await self._scripts.call("states", [self._keys.ring(partition)], *keys)
        return [
            ConversationState(rows, title.decode() if title else None, tuple(marks))
            for rows, title, *marks in replies
        ]
