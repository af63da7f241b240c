"""Pure: which partitions a system has, and which of them a name may be found in.

The map is one text in Redis. A change replaces the text, and each text has a larger epoch than the
one before. docs/decisions/0029 has the steps of a change and why they are safe.
"""

import secrets
from dataclasses import dataclass, replace
from typing import Any

import msgspec

MAX_PARTITIONS = 1024
# Each map that is kept costs a look-up for every submit with a conversation or an idempotency key.
MAX_OLD_MAPS = 6


@dataclass(frozen=True)
class PartitionMap:
    """`partitions` is where new requests go.

    `old` has the numbers of partitions of earlier maps, newest first, whose conversations and
    idempotency keys may still exist. `next` is the number that a change under way leads to.
    """

    partitions: int = 1
    epoch: int = 0
    old: tuple[int, ...] = ()
    next: int | None = None

    @property
    def served(self) -> int:
        """How many partitions may hold something, or will in a moment; counted from 0."""
        return max(self.partitions, *self.old, self.next or 0)

    def choose(self) -> int:
        """The partition of a new request that nothing binds to a partition."""
        return secrets.randbelow(self.partitions)

    def homes(self, affinity: str) -> list[int]:
        """The partitions in which a name may be found. A new one belongs into the first."""
        number = int(affinity, 16)
        return list(dict.fromkeys(number % count for count in (self.partitions, *self.old)))

    def announced(self, partitions: int) -> "PartitionMap":
        """The map that lets all processes serve the partitions of the next one."""
        return replace(self, next=partitions)

    def changed(self) -> "PartitionMap":
        """The map after the change under way."""
        if self.next is None:
            return self
        known = dict.fromkeys((self.partitions, *self.old))
        old = tuple(count for count in known if count != self.next)
        return PartitionMap(self.next, self.epoch + 1, old)

    def without(self, emptied: set[int]) -> "PartitionMap":
        """The map after the earlier ones in `emptied` have become empty."""
        old = tuple(count for count in self.old if count not in emptied)
        return replace(self, epoch=self.epoch + 1, old=old)

    def encode(self) -> bytes:
        """The text in Redis."""
        fields = {
            "epoch": self.epoch, "partitions": self.partitions, "old": self.old, "next": self.next,
        }  # fmt: skip
        return msgspec.json.encode(fields)

    @classmethod
    def decode(cls, text: bytes) -> "PartitionMap":
        """Read a text; raises ValueError (foreign data)."""
        stored: dict[str, Any] = msgspec.json.decode(text)
        try:
            found = cls(
                int(stored["partitions"]),
                int(stored["epoch"]),
                tuple(int(count) for count in stored["old"]),
                None if stored["next"] is None else int(stored["next"]),
            )
        except (KeyError, TypeError) as error:
            message = "not a partition map"
            raise ValueError(message) from error
        counts = (found.partitions, *found.old, found.next or 1)
        if not all(1 <= count <= MAX_PARTITIONS for count in counts):
            message = "a partition map with numbers out of range"
            raise ValueError(message)
        return found
