"""Reads and forgets conversations: their turns, and which request is active."""

from dataclasses import dataclass

from tickertape.broker import keys
from tickertape.broker.connections import Connections
from tickertape.broker.errors import RequestMissing
from tickertape.broker.lua import Scripts
from tickertape.broker.requests import conversation_key
from tickertape.broker.turns import Row, Turn, drop_replaced, exceed_memory, read_turns
from tickertape.runtime.settings import Settings

# Pages of rows: the first may hold four questions of 20 MB, later ones grow while they are small.
_FIRST_ROWS = 8
_GROWTH = 4
_SMALL_PAGE_BYTES = 1024 * 1024


@dataclass(frozen=True)
class Conversation:
    """The turns that were not replaced, oldest first, and the active request if there is one."""

    turns: list[Turn]
    active_request_id: str | None


class Conversations:
    """Reads and forgets conversations; raises Unavailable when Redis does not answer."""

    def __init__(self, connections: Connections, settings: Settings) -> None:
        self._connections = connections
        self._settings = settings
        self._scripts = Scripts(connections.commands)

    def place(self, tenant: str, conversation_id: str) -> tuple[int, str]:
        """The partition and the short key of a conversation."""
        key = conversation_key(tenant, conversation_id)
        return keys.choose_partition(self._settings.partitions, key), key

    async def get(self, tenant: str, conversation_id: str) -> Conversation:
        """The conversation; raises RequestMissing when there is none."""
        partition, key = self.place(tenant, conversation_id)
        stored = await self._connections.ask("HGETALL", keys.conversation(partition, key))
        if not stored:
            raise RequestMissing("There is no such conversation.")
        active = stored.get(b"active")
        turns = drop_replaced(await self.turns(partition, key))
        return Conversation(turns, active.decode() if active else None)

    async def active(self, tenant: str, conversation_id: str) -> str | None:
        """The id of the active request; None if there is none, or no such conversation."""
        partition, key = self.place(tenant, conversation_id)
        stored = await self._connections.ask("HGET", keys.conversation(partition, key), "active")
        return stored.decode() if stored else None

    async def turns(self, partition: int, key: str) -> list[Turn]:
        """All turns of a conversation, also replaced ones, in the order of their questions."""
        rows = await self._connections.ask("XRANGE", keys.turns(partition, key), "-", "+")
        return read_turns(rows)[-self._settings.conversation_turns :]

    async def newest_turns(self, partition: int, key: str, request_id: str) -> list[Turn]:
        """As `turns`, without the oldest, which exceed what a request is given of them.

        A conversation may hold gigabytes of photos, and one reply with all of them would never
        come in time. The rows are read from the newest on, in larger pages the smaller they are.
        """
        rows: list[Row] = []
        last, count = "+", _FIRST_ROWS
        while True:
            page = await self._connections.ask(
                "XREVRANGE", keys.turns(partition, key), last, "-", "COUNT", count
            )
            rows += page
            # The messages made of rows are a little longer or shorter than the rows.
            is_enough = exceed_memory(rows, request_id, 2 * self._settings.memory_bytes)
            if len(page) < count or is_enough:
                break
            last = f"({page[-1][0].decode()}"
            if sum(len(value) for _, row in page for value in row.values()) < _SMALL_PAGE_BYTES:
                count *= _GROWTH
        return read_turns(reversed(rows))[-self._settings.conversation_turns :]

    async def forget(self, tenant: str, conversation_id: str) -> int:
        """End the requests of a conversation, and erase the conversation with all its requests.

        Returns how many requests were erased (0 if an earlier call, whose reply was lost, did it).
        Raises RequestMissing, Unavailable.
        """
        partition, key = self.place(tenant, conversation_id)
        if not await self._connections.ask("EXISTS", keys.conversation(partition, key)):
            raise RequestMissing("There is no such conversation.")
        word, details = await self._scripts.verdict(
            "forget",
            [keys.ring(partition)],
            conversation=key,
            tenant=tenant,
            retention_s=self._settings.retention_s,
            conversation_ttl_s=self._settings.conversation_ttl_s,
        )
        return int(details[0]) if word == "OK" else 0
