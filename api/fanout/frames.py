"""What goes over a connection: the frames of a log on one wire, and HTTP's chunks."""

from array import array
from collections.abc import Iterator
from itertools import accumulate

# A long replay goes out in pieces of so many frames, as the socket takes them.
FRAMES_PER_BLOCK = 2000
# Of CPython: the head of a bytes object, rounded up to 16, and its place in a list.
OBJECT_BYTES = 56


class Frames:
    """All frames of a log; the older ones are kept in blocks, which are HTTP chunks already.

    A replay writes whole blocks, the same bytes for every reader: to join 5,000 frames anew takes
    0.6 ms, most of it for memory that is new to the process each time.
    """

    __slots__ = ("_blocks", "_ends", "_in_blocks", "_newest", "count")

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget all frames."""
        self._blocks: list[bytes] = []
        # Of each block: where its first frame begins, and where each of them ends.
        self._ends: list[array[int]] = []
        self._in_blocks = 0
        self._newest: list[bytes] = []
        # As `len`, which calls a function of Python's own and so costs four times as much.
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
        """About what they take of memory."""
        blocks = sum(map(len, self._blocks)) + sum(8 * len(ends) for ends in self._ends)
        return blocks + sum(map(len, self._newest)) + OBJECT_BYTES * len(self._newest)

    def append(self, frame: bytes) -> None:
        """Add the next frame, which may be empty."""
        self._newest.append(frame)
        self.count += 1
        if len(self._newest) == FRAMES_PER_BLOCK:
            self.close_block()

    def close_block(self) -> None:
        """Put the newest frames into a block. Before a block is full only after the last frame."""
        if self._newest:
            body = b"".join(self._newest)
            head = len(b"%x\r\n" % len(body))
            self._blocks.append(chunk(body))
            self._ends.append(array("Q", accumulate(map(len, self._newest), initial=head)))
            self._in_blocks += len(self._newest)
            self._newest = []

    def between(self, begin: int, end: int) -> bytes:
        """The frames from `begin` up to, and without, `end`."""
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
        """The same as a chunk; nothing for nothing."""
        number = begin - self._in_blocks
        if end == begin + 1 and number >= 0:
            # One event, as most writes to a lone reader are: it is not joined with anything.
            return chunk(self._newest[number])
        return chunk(self.between(begin, end))

    def chunk_from(self, begin: int, end: int) -> tuple[bytes, int]:
        """A chunk of the frames from `begin` on, and where the next one begins, at most at `end`.

        Where a whole block is asked for it is that block, and nothing is copied.
        """
        number, offset = divmod(begin, FRAMES_PER_BLOCK)
        stop = min(end, begin - offset + FRAMES_PER_BLOCK)
        if number < len(self._blocks) and stop - begin == len(self._ends[number]) - 1:
            return self._blocks[number], stop
        return chunk(self.between(begin, stop)), stop


def chunk(body: bytes) -> bytes:
    """A body as a chunk of HTTP/1.1's chunked encoding; nothing for nothing, which would end it."""
    return b"%x\r\n%b\r\n" % (len(body), body) if body else b""
