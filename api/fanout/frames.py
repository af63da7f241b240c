"""The frames of a log on one wire, kept so that replays copy nothing."""

from array import array
from collections.abc import Iterator
from itertools import accumulate

from tickertape.api.fanout.http_chunk import chunk

# A long replay is written in pieces of this many frames, as the socket takes them.
FRAMES_PER_BLOCK = 2000
# CPython's overhead per bytes object: its header, rounded up to 16 bytes, and a list slot.
OBJECT_BYTES = 56


class Frames:
    """All frames of a log. Older frames are kept in blocks that are HTTP chunks already.

    A replay writes whole blocks, the same bytes object to every reader. Joining 5,000 frames for
    each replay would take 0.6 ms, most of it for memory that the process has to request each time.
    """

    __slots__ = ("_blocks", "_ends", "_in_blocks", "_newest", "count")

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget all frames."""
        self._blocks: list[bytes] = []
        # For each block: the offset of its first frame, and the offset behind each frame.
        self._ends: list[array[int]] = []
        self._in_blocks = 0
        self._newest: list[bytes] = []
        # Same as `len(self)`, but four times cheaper than a Python-level `__len__`.
        self.count = 0

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int) -> bytes:
        """One frame; raises IndexError."""
        number = range(len(self))[number]
        return self.between(number, number + 1)

    def __iter__(self) -> Iterator[bytes]:
        return map(self.__getitem__, range(len(self)))

    @property
    def size_bytes(self) -> int:
        """Approximate memory use of all frames."""
        blocks = sum(map(len, self._blocks)) + sum(8 * len(ends) for ends in self._ends)
        return blocks + sum(map(len, self._newest)) + OBJECT_BYTES * len(self._newest)

    def append(self, frame: bytes) -> None:
        """Add the next frame, which may be empty."""
        self._newest.append(frame)
        self.count += 1
        if len(self._newest) == FRAMES_PER_BLOCK:
            self.close_block()

    def close_block(self) -> None:
        """Turn the newest frames into a block. A block may be short only if no frame follows it."""
        if self._newest:
            body = b"".join(self._newest)
            head = len(b"%x\r\n" % len(body))
            self._blocks.append(chunk(body))
            self._ends.append(array("Q", accumulate(map(len, self._newest), initial=head)))
            self._in_blocks += len(self._newest)
            self._newest = []

    def between(self, begin: int, end: int) -> bytes:
        """The frames from `begin` up to `end`, exclusive, joined."""
        first = self._in_blocks
        if begin >= first:
            return b"".join(self._newest[begin - first : end - first])
        pieces = []
        while begin < min(end, first):
            number, offset = divmod(begin, FRAMES_PER_BLOCK)
            ends = self._ends[number]
            last = min(offset + end - begin, len(ends) - 1)
            pieces.append(self._blocks[number][ends[offset] : ends[last]])
            begin += last - offset
        return b"".join([*pieces, *self._newest[: max(0, end - first)]])

    def chunk_between(self, begin: int, end: int) -> bytes:
        """The same as one chunk; no bytes if there are no frames."""
        number = begin - self._in_blocks
        if end == begin + 1 and number >= 0:
            # Most writes to a lone reader are one event, which needs no joining.
            return chunk(self._newest[number])
        return chunk(self.between(begin, end))

    def chunk_from(self, begin: int, end: int) -> tuple[bytes, int]:
        """A chunk of the frames from `begin` on, and the position behind it, at most `end`.

        A whole block is returned as it is, without a copy.
        """
        number, offset = divmod(begin, FRAMES_PER_BLOCK)
        stop = min(end, begin - offset + FRAMES_PER_BLOCK)
        if number < len(self._blocks) and stop - begin == len(self._ends[number]) - 1:
            return self._blocks[number], stop
        return chunk(self.between(begin, stop)), stop
