"""The API keys that `tickertape keys` keeps in Redis, as one process knows them.

A key is looked up once and then known until the version of the records changes, so a call makes no
round trip to Redis.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import TypeVar

from tickertape.api.edge.caller import ALL_SCOPES, Caller
from tickertape.api.edge.permits import Permits
from tickertape.broker.access import AccessRecords, KeyRecord
from tickertape.runtime import api_key

Value = TypeVar("Value")

_PREFIX = "stored:"
_MOST_KNOWN = 10_000
_USES_WRITTEN_EVERY_MS = 60_000
_LOOKED_UP_AT_ONCE = 500


class StoredKeys:
    """Finds the caller of a key. `attach` gives it the records; without them it knows no key."""

    def __init__(
        self,
        permits: Permits,
        secrets: Sequence[str],
        *,
        now_ms: Callable[[], int] = lambda: int(time.time() * 1000),
    ) -> None:
        self._permits = permits
        self._secrets: Sequence[str | None] = secrets or (None,)
        self._now_ms = now_ms
        self._records: AccessRecords | None = None
        self._callers: OrderedDict[str, Caller] = OrderedDict()
        # Apart from the known keys, so that wrong ones cannot push these out.
        self._unknown: OrderedDict[str, None] = OrderedDict()
        self._noted_ms: dict[str, int] = {}
        self._unwritten_ms: dict[str, int] = {}
        # Of keys that were found under an earlier secret: the two digests of each.
        self._unmoved: dict[str, tuple[str, str]] = {}

    def use_secrets(self, secrets: Sequence[str]) -> None:
        """Find keys that any of these made from now on. The first one is the current secret."""
        self._secrets = secrets or (None,)
        self.forget()

    def attach(self, records: AccessRecords) -> None:
        """Look keys up in these records from now on."""
        self._records = records

    async def find(self, key: str) -> Caller | None:
        """The caller of a key; None for an unknown, revoked or expired one. Raises Unavailable."""
        if self._records is None or not api_key.is_key(key):
            return None
        digest = api_key.digest(key, self._secrets[0])
        caller = self._callers.get(digest)
        if caller is None and digest not in self._unknown:
            earlier = [api_key.digest(key, secret) for secret in self._secrets[1:]]
            caller = await self._look_up(self._records, digest, earlier)
        if caller is None or (caller.permit and self._is_over(caller.permit.ends_ms)):
            return None
        self._note_use(caller)
        return caller

    async def _look_up(
        self, records: AccessRecords, digest: str, earlier: Sequence[str]
    ) -> Caller | None:
        while True:
            known = self._callers
            found = await records.find([digest, *earlier])
            if known is self._callers:
                break  # otherwise the records have changed since they were asked
        kept = next((pair for pair in zip([digest, *earlier], found, strict=True) if pair[1]), None)
        if kept is None or (record := kept[1]) is None:
            _remember(self._unknown, digest, None)
            return None
        if kept[0] != digest:
            self._unmoved[record.key_id] = (kept[0], digest)
        caller = self._caller(record)
        _remember(self._callers, digest, caller)
        return caller

    def forget(self) -> None:
        """Look every key up again."""
        self._callers, self._unknown = OrderedDict(), OrderedDict()

    async def recheck(self) -> None:
        """End the streams of keys that are revoked; raises Unavailable."""
        names = self._permits.named(_PREFIX)
        for start in range(0, len(names), _LOOKED_UP_AT_ONCE):
            await self._recheck(names[start : start + _LOOKED_UP_AT_ONCE])

    async def _recheck(self, names: Sequence[str]) -> None:
        if self._records is None:
            return
        exist = await self._records.exist([name.removeprefix(_PREFIX) for name in names])
        self._permits.end(name for name, exists in zip(names, exist, strict=True) if not exists)

    async def write_uses(self) -> None:
        """Keep when keys were last used; raises Unavailable."""
        if self._records is None or not self._unwritten_ms:
            return
        uses, self._unwritten_ms = self._unwritten_ms, {}
        await self._records.note_uses(uses)

    async def move(self) -> None:
        """Keep the keys that earlier secrets made under the current one; raises Unavailable."""
        while self._records is not None and self._unmoved:
            key_id, (earlier, digest) = next(iter(self._unmoved.items()))
            await self._records.move(key_id, earlier, digest)
            del self._unmoved[key_id]

    def _note_use(self, caller: Caller) -> None:
        now_ms, key_id = self._now_ms(), caller.key_id or ""
        if now_ms - self._noted_ms.get(key_id, 0) < _USES_WRITTEN_EVERY_MS:
            return
        if len(self._noted_ms) >= _MOST_KNOWN:
            self._noted_ms.clear()
        self._noted_ms[key_id] = self._unwritten_ms[key_id] = now_ms

    def _caller(self, record: KeyRecord) -> Caller:
        return Caller(
            tenant=record.tenant,
            key_id=record.key_id,
            # A scope of a later version is none of this one.
            scopes=ALL_SCOPES & {*record.scopes},
            models=None if record.models is None else frozenset(record.models),
            permit=self._permits.get(_PREFIX + record.key_id, record.expires_ms),
        )

    def _is_over(self, ends_ms: int | None) -> bool:
        return ends_ms is not None and ends_ms <= self._now_ms()


def _remember(known: OrderedDict[str, Value], digest: str, value: Value) -> None:
    known[digest] = value
    if len(known) > _MOST_KNOWN:
        known.popitem(last=False)
