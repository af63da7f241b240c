"""The records of API keys, and which tickets are revoked: what API processes agree on about access.

Everything is in partition 0. `version` rises with each change, so that a process which polls it
sees a change in one quick command. A key is found by its digest, in constant work.
"""

import secrets
import time
from collections.abc import Mapping, Sequence

import msgspec

from tickertape.broker.connections import Connections
from tickertape.broker.errors import Refused
from tickertape.broker.lua import Scripts

TICKET_LIFE_MS = 7 * 86_400_000
"""No ticket is valid for longer than this after its issue."""


class KeyRecord(msgspec.Struct, frozen=True, kw_only=True):
    """An API key as it is kept: everything but the key. Times are in ms; None means no end."""

    key_id: str
    tenant: str
    scopes: tuple[str, ...]
    models: tuple[str, ...] | None = None
    name: str = ""
    created_ms: int
    expires_ms: int | None = None


class AccessRecords:
    """Reads and changes the records. Every method raises Unavailable if Redis does not answer."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._keys = connections.keys
        self._scripts = Scripts(connections.commands)

    async def version(self) -> int:
        """A number that rises with each change; 0 if there never was one."""
        return int(await self._connections.ask_small("HGET", self._keys.access(), "version") or 0)

    async def hold_keys(self) -> bool:
        """Whether there is any key."""
        return bool(await self._connections.ask_small("EXISTS", self._keys.api_keys()))

    async def add(self, digest: str, record: KeyRecord) -> None:
        """Keep a new key; raises Refused if its id is taken."""
        word, _ = await self._scripts.verdict(
            "add_key",
            [self._keys.api_keys(), self._keys.key_ids(), self._keys.access()],
            digest=digest,
            key_id=record.key_id,
            record=msgspec.json.encode(record),
        )
        if word == "EXISTS":
            raise Refused(f"There is a key with the id {record.key_id}.")

    async def move(self, key_id: str, earlier: str, digest: str) -> None:
        """Keep a key under another digest. Does nothing if the key was moved or revoked before."""
        await self._scripts.verdict(
            "move_key",
            [self._keys.api_keys(), self._keys.key_ids()],
            key_id=key_id,
            earlier=earlier,
            digest=digest,
        )

    async def exist(self, key_ids: Sequence[str]) -> list[bool]:
        """Whether there are keys with these ids."""
        found = await self._connections.ask_small("HMGET", self._keys.key_ids(), *key_ids)
        return [digest is not None for digest in found]

    async def revoke(self, key_id: str) -> bool:
        """Forget a key and revoke its tickets; false if there is no such key. Safe to repeat."""
        member = member_of_key(key_id)
        word, _ = await self._scripts.verdict(
            "revoke_key",
            [
                self._keys.api_keys(),
                self._keys.key_ids(),
                self._keys.key_uses(),
                self._keys.access(),
                self._keys.revoked(),
            ],
            key_id=key_id,
            member=member,
            until_ms=_now_ms() + TICKET_LIFE_MS,
        )
        return word == "OK" or (await self.revoked([member]))[0] is not None

    async def find(self, digests: Sequence[str]) -> list[KeyRecord | None]:
        """The records by their digests; None for a key that is not known."""
        found = await self._connections.ask_small("HMGET", self._keys.api_keys(), *digests)
        return [text and msgspec.json.decode(text, type=KeyRecord) for text in found]

    async def listed(self) -> list[tuple[KeyRecord, int | None]]:
        """All keys with the time of their last use in ms, by tenant and time of creation."""
        stored = await self._connections.ask("HGETALL", self._keys.api_keys())
        uses = await self._connections.ask("HGETALL", self._keys.key_uses())
        records = [msgspec.json.decode(text, type=KeyRecord) for text in stored.values()]
        records.sort(key=lambda record: (record.tenant, record.created_ms, record.key_id))
        return [
            (record, int(used) if (used := uses.get(record.key_id.encode())) else None)
            for record in records
        ]

    async def note_uses(self, uses_ms: Mapping[str, int]) -> None:
        """Keep when keys were last used, by their ids."""
        pairs = [part for pair in uses_ms.items() for part in pair]
        await self._connections.ask("HSET", self._keys.key_uses(), *pairs)

    async def ticket_secret(self) -> bytes:
        """The secret that signs tickets; the first call of a system makes it."""
        key, name = self._keys.access(), "ticket_secret"
        if (known := await self._connections.ask_small("HGET", key, name)) is None:
            await self._connections.ask("HSETNX", key, name, secrets.token_hex(32))
            known = await self._connections.ask_small("HGET", key, name)
        return bytes(known)

    async def revoke_tickets(self, member: str, until_ms: int) -> None:
        """Revoke what `member` names; `until_ms` is when none of it can be valid."""
        await self._scripts.verdict(
            "revoke_tickets",
            [self._keys.revoked(), self._keys.access()],
            member=member,
            until_ms=until_ms,
        )

    async def revoked(self, members: Sequence[str]) -> list[int | None]:
        """The `until_ms` of each member, None for one that is not revoked."""
        key = self._keys.revoked()
        found = await self._connections.ask_all([("ZSCORE", key, member) for member in members])
        return [None if score is None else int(float(score)) for score in found]


def member_of_ticket(ticket_id: str) -> str:
    """The name of one ticket in the set of what is revoked."""
    return f"t:{ticket_id}"


def member_of_key(key_id: str) -> str:
    """The name of all tickets of a key in the set of what is revoked."""
    return f"k:{key_id}"


def member_of_object(digest: str) -> str:
    """The name of all tickets of an object, by a digest of it, in the set of what is revoked."""
    return f"o:{digest}"


def _now_ms() -> int:
    return int(time.time() * 1000)
