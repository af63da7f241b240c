"""The frames of a log on one wire, kept so that replays copy nothing."""

from array import array
from bisect import bisect_right
from collections.abc import Iterator
from itertools import accumulate

from tickertape.api.fanout.http_chunk import chunk

# A long replay is written in pieces of this many frames, as the socket takes them.
FRAMES_PER_BLOCK = 2000
# A block that has reached this size is closed, so that a long log is kept once for all its readers.
BLOCK_BYTES = 65_536
# CPython's overhead per bytes object: its header, rounded up to 16 bytes, and a list slot.
OBJECT_BYTES = 56


class Frames:
    """All frames of a log. Older frames are kept in blocks that are HTTP chunks already.

    A replay writes whole blocks, the same bytes object to every reader. Joining 5,000 frames for
    each replay would take 0.6 ms, most of it for memory that the process has to request each time.
    A reader of part of a block gets a copy, which is smaller than BLOCK_BYTES unless it is one
    frame.
    """

    __slots__ = (
        "_begins",
        "_block_bytes",
        "_blocks",
        "_ends",
        "_in_blocks",
        "_newest",
        "_newest_bytes",
        "count",
    )

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget all frames."""
        self._blocks: list[bytes] = []
        self._block_bytes = 0
        # For each block: the position of its first frame.
        self._begins: list[int] = []
        # For each block: the offset of its first frame, and the offset behind each frame.
        self._ends: list[array[int]] = []
        self._in_blocks = 0
        self._newest: list[bytes] = []
        self._newest_bytes = 0
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
        return self._block_bytes + self._newest_bytes + OBJECT_BYTES * len(self._newest)

    def bytes_from(self, position: int) -> int:
        """The bytes of the frames from a position on."""
        total = sum(map(len, self._newest[max(0, position - self._in_blocks) :]))
        for number, ends in enumerate(self._ends):
            offset = max(0, position - number * FRAMES_PER_BLOCK)
            if offset < len(ends):
                total += ends[-1] - ends[offset]
        return total

    def append(self, frame: bytes) -> None:
        """Add the next frame, which may be empty."""
        self._newest.append(frame)
        self.count += 1
        self._newest_bytes += len(frame)
        if self._newest_bytes >= BLOCK_BYTES or len(self._newest) == FRAMES_PER_BLOCK:
            self.close_block()

    def close_block(self) -> None:
        """Turn the newest frames into a block."""
        if self._newest:
            body = b"".join(self._newest)
            head = len(b"%x\r\n" % len(body))
            block = chunk(body)
            ends = array("Q", accumulate(map(len, self._newest), initial=head))
            self._blocks.append(block)
            self._ends.append(ends)
            self._block_bytes += len(block) + 8 * len(ends)
            self._begins.append(self._in_blocks)
            self._in_blocks += len(self._newest)
            self._newest = []
            self._newest_bytes = 0

    def stop_after(self, position: int) -> int:
        """The position behind the block with a frame, or behind all frames if it is in no block."""
        if position >= self._in_blocks:
            return self.count
        number = self._block_of(position)
        return self._begins[number] + len(self._ends[number]) - 1

    def _block_of(self, position: int) -> int:
        return bisect_right(self._begins, position) - 1

    def between(self, begin: int, end: int) -> bytes:
        """The frames from `begin` up to `end`, exclusive, joined."""
        first = self._in_blocks
        if begin >= first:
            return b"".join(self._newest[begin - first : end - first])
        pieces = []
        number = self._block_of(begin)
        while begin < min(end, first):
            ends, offset = self._ends[number], begin - self._begins[number]
            last = min(offset + end - begin, len(ends) - 1)
            pieces.append(self._blocks[number][ends[offset] : ends[last]])
            begin += last - offset
            number += 1
        return b"".join([*pieces, *self._newest[: max(0, end - first)]])

    def chunk_between(self, begin: int, end: int) -> bytes:
        """The same as one chunk; no bytes if there are no frames."""
        number = begin - self._in_blocks
        if end == begin + 1 and number >= 0:
            # Most writes to a lone reader are one event, which needs no joining.
            return chunk(self._newest[number])
        return self._block_between(begin, end) or chunk(self.between(begin, end))

    def chunk_from(self, begin: int, end: int) -> tuple[bytes, int, bool]:
        """A chunk of the frames from `begin` on, the position behind it, whether it is a block.

        The position is at most `end`. A block is the same bytes object for every reader.
        """
        stop = min(end, self.stop_after(begin))
        block = self._block_between(begin, stop)
        return block or chunk(self.between(begin, stop)), stop, bool(block)

    def _block_between(self, begin: int, end: int) -> bytes:
        """The block with exactly these frames; no bytes if there is none."""
        if begin >= self._in_blocks:
            return b""
        number = self._block_of(begin)
        is_whole = begin == self._begins[number] and end - begin == len(self._ends[number]) - 1
        return self._blocks[number] if is_whole else b""
