"""The metrics of the processes that share one address, in memory that all of them see.

Each process writes what it counted once a second. Any of them can then answer for all, also while
one hangs, and nothing has to be asked of it.
"""

import struct
import time
import zlib
from collections.abc import Callable, Iterator
from multiprocessing.sharedctypes import RawArray
from typing import Any, NamedTuple

SLOT_BYTES = 256 * 1024
FRESH_S = 5.0
# When the process wrote, and the length and checksum of what it wrote.
_HEAD = struct.Struct("<dII")
_READS = 3


class Written(NamedTuple):
    """What one process wrote. `is_fresh` is False for one that has ended or hangs."""

    text: bytes
    is_fresh: bool


class Siblings:
    """One slot for each process. Made by the parent, and passed to children when they start.

    A process that replaces another one takes over its slot, and what that one had counted.
    """

    def __init__(self, count: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._slots: list[Any] = [RawArray("c", SLOT_BYTES) for _ in range(count)]
        self._ready: Any = RawArray("b", count)
        self._clock = clock
        self._own: int | None = None
        self.before = b""
        """What the process that had this slot before has counted; empty for the first one."""

    def join(self, number: int) -> None:
        """Take the slot of this number, which no other process has now."""
        self._own = number
        self._ready[number] = False
        self.before = self._read(number).text
        self._write(self.before, written_s=float("-inf"))

    def report_ready(self) -> None:
        """Let the parent see that this process can work."""
        if self._own is not None:
            self._ready[self._own] = True

    @property
    def ready(self) -> list[bool]:
        """Whether each process has reported that it can work."""
        return [*map(bool, self._ready)]

    def write(self, text: bytes) -> None:
        """Let the other processes see this text, if there is room for it."""
        if len(text) <= SLOT_BYTES - _HEAD.size:
            self._write(text, written_s=self._clock())

    def written_s(self, number: int) -> float:
        """When the process of this number last wrote, by the clock; -inf before it first did."""
        written_s: float = _HEAD.unpack_from(self._slots[number])[0]
        return written_s or float("-inf")

    @property
    def count(self) -> int:
        """The number of processes, this one included."""
        return len(self._slots)

    def others(self) -> Iterator[Written]:
        """What the other processes wrote."""
        for number in range(len(self._slots)):
            if number != self._own and (written := self._read(number)).text:
                yield written

    def _write(self, text: bytes, *, written_s: float) -> None:
        if self._own is None:
            return
        slot = self._slots[self._own]
        slot[_HEAD.size : _HEAD.size + len(text)] = text
        _HEAD.pack_into(slot, 0, written_s, len(text), zlib.crc32(text))

    def _read(self, number: int) -> Written:
        slot = self._slots[number]
        for _ in range(_READS):
            written_s, length, checksum = _HEAD.unpack_from(slot)
            text = slot[_HEAD.size : _HEAD.size + length]
            # Otherwise the process writes at this moment.
            if zlib.crc32(text) == checksum:
                return Written(text, self._clock() - written_s < FRESH_S)
        return Written(b"", is_fresh=False)
