"""Reads what Redis keeps of a request that has ended until the history has it."""

from dataclasses import dataclass

from tickertape.broker.codec import Entry
from tickertape.broker.connections import Connections
from tickertape.broker.log import Logs, decoded, size_of
from tickertape.broker.request_ids import partition_of
from tickertape.broker.segments import Stored

_OF_CONVERSATION = ("keep", "title", "title_of", "created")


@dataclass(frozen=True)
class KeptRequest:
    """A request that has ended: its fields, its log, and what its conversation says about it."""

    request_id: str
    record: dict[bytes, bytes]
    log: list[Stored]
    conversation: dict[bytes, bytes]
    links: bytes

    @property
    def size_bytes(self) -> int:
        """The size of the texts."""
        return size_of(self.log) + len(self.record.get(b"payload", b""))

    def entries(self) -> list[Entry]:
        """The log. It may have megabytes, so call this in a thread."""
        return decoded(self.log)


class KeptRequests:
    """Every method raises Unavailable."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._keys = connections.keys
        self._logs = Logs(connections)

    async def read(self, request_id: str) -> KeptRequest | None:
        """What is kept of a request; None if the request was erased, or its time is over."""
        record: dict[bytes, bytes] = await self._connections.ask(
            "HGETALL", self._keys.record(request_id)
        )
        if not record:
            return None
        log = await self._logs.stored(request_id)
        conversation, links = await self._conversation(request_id, record)
        return KeptRequest(request_id, record, log, conversation, links)

    async def _conversation(
        self, request_id: str, record: dict[bytes, bytes]
    ) -> tuple[dict[bytes, bytes], bytes]:
        key, row = record.get(b"conv", b"").decode(), record.get(b"asked", b"")
        if not key:
            return {}, b""
        partition = partition_of(request_id)
        about = await self._connections.ask(
            "HMGET", self._keys.conversation(partition, key), *_OF_CONVERSATION
        )
        pairs = zip(_OF_CONVERSATION, about, strict=True)
        known = {name.encode(): value for name, value in pairs if value is not None}
        if not row:
            return known, b""
        turns = self._keys.turns(partition, key)
        rows = await self._connections.ask("XRANGE", turns, row, row)
        return known, rows[0][1].get(b"links", b"") if rows else b""
