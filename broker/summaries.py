"""Lists the conversations of a tenant: their titles, and the settings of their latest requests."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec

from tickertape.broker.connections import Connections
from tickertape.runtime.settings import Settings

# The list leaves out larger variables of a request, so that a page of it stays small.
_MOST_BYTES = 4096
_READ_AT_ONCE = 50
# One call reads at most this many conversations of a partition.
_MOST_READ = 1000
_FIELDS = ("summary", "title", "created", "updated", "turns", "active")


@dataclass(frozen=True)
class Summary:
    """A conversation without its turns. `options` are those of its latest request.

    Only known options are there: `role`, `model`, `temperature`, `variables`.
    """

    conversation_id: str
    title: str | None
    created_ms: int
    updated_ms: int
    turns: int
    active_request_id: str | None
    options: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, stored: dict[bytes, bytes]) -> "Summary | None":
        """The summary in a conversation's hash; None if no request of this version wrote one."""
        if b"summary" not in stored:
            return None
        options = msgspec.json.decode(stored[b"summary"], type=dict[str, Any])
        title, active = stored.get(b"title"), stored.get(b"active")
        return cls(
            conversation_id=options.pop("conversation_id"),
            title=title.decode() if title else None,
            created_ms=int(stored[b"created"]),
            updated_ms=int(stored[b"updated"]),
            turns=int(stored[b"turns"]),
            active_request_id=active.decode() if active else None,
            options=options,
        )


def encode_summary(conversation_id: str, options: dict[str, Any]) -> bytes:
    """What the hash of a conversation stores of a request; large variables are left out."""
    fields = {"conversation_id": conversation_id, **options}
    encoded = msgspec.json.encode(fields)
    if len(encoded) > _MOST_BYTES:
        fields.pop("variables", None)
        encoded = msgspec.json.encode(fields)
    return encoded


class ListedConversation(NamedTuple):
    """A row in a tenant's list; `summary` is None when the conversation has expired."""

    updated_ms: int
    key: str
    summary: Summary | None


class ConversationList:
    """Reads the list of a tenant's conversations; raises Unavailable."""

    def __init__(self, connections: Connections, settings: Settings) -> None:
        self._connections = connections
        self._keys = connections.keys
        self._settings = settings

    async def newest(
        self, tenant: str, before_ms: int | None = None
    ) -> AsyncIterator[ListedConversation]:
        """The conversations, the one with the latest request first, as the list is now.

        At most 1000 of each partition. A conversation of an earlier version is in the list after
        its next request.
        """
        newest = "+inf" if before_ms is None else f"({before_ms}"
        found: list[tuple[int, str, int]] = []
        for partition in range(self._connections.partitions.served):
            row = await self._connections.ask(
                "ZREVRANGEBYSCORE", self._keys.conversations(partition, tenant), newest, "-inf",
                "WITHSCORES", "LIMIT", 0, _MOST_READ,
            )  # fmt: skip
            found += [
                (int(score), key.decode(), partition)
                for key, score in zip(row[::2], row[1::2], strict=True)
            ]
        found.sort(reverse=True)
        for at in range(0, len(found), _READ_AT_ONCE):
            page = found[at : at + _READ_AT_ONCE]
            stored = await self._connections.ask_all(
                [("HMGET", self._keys.conversation(where, key), *_FIELDS) for _, key, where in page]
            )
            for (updated_ms, key, _), values in zip(page, stored, strict=True):
                pairs = zip(_FIELDS, values, strict=True)
                known = {name.encode(): value for name, value in pairs if value is not None}
                yield ListedConversation(updated_ms, key, Summary.read(known))
