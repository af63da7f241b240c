"""What is left of an HTTP connection after it was handed over: a transport and a position.

Nothing of the request, the framework or the server's own protocol is kept: 2 KiB for an idle
reader instead of 23, and no task to wake for a write.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from tickertape.api.fanout.frames import chunk

# Heartbeats during which a connection took nothing, before it is dropped: its client resumes.
_STALLED_TICKS = 2
_LAST_CHUNK = b"0\r\n\r\n"
# Not a position that is ever written from, so the writing loop passes the connection by.
_PAUSED = -1
_GONE = -2


class LiveConnection(asyncio.Protocol):
    """One reader. While its socket is full its position stands still, and nothing is buffered."""

    __slots__ = (
        "_connections",
        "_epoch",
        "_is_full",
        "_paused_at",
        "_slice",
        "_ticks",
        "_transport",
        "_unsent_bytes",
        "position",
        "write",
    )

    def __init__(
        self, transport: asyncio.Transport, connections: set[Any], *, is_full: bool = False
    ) -> None:
        self._transport = transport
        self._connections = connections
        self._slice: Any = None
        self._epoch = 0
        self._is_full = is_full
        self._paused_at = 0
        self._ticks = 0
        self._unsent_bytes = 0
        self.position = _GONE
        self.write: Callable[[bytes], None] = transport.write

    def begin(self, slice_: Any, position: int, epoch: int) -> None:
        """Read from a position, of that epoch, on: what the slice has sent goes out now."""
        self._slice = slice_
        self._epoch = epoch
        self.position = position
        if self._is_full:
            # What was written before the first frame has filled it: the transport says so once.
            self.pause_writing()
        self.catch_up()

    def catch_up(self) -> None:
        """Write what was missed, as far as the socket takes it."""
        mine = self._slice
        mine.follow_epoch()
        if self._epoch != mine.epoch and self.position >= 0:
            self._begin_again()
        frames = mine.audience.frames
        while 0 <= self.position < mine.sent:
            # The position first: the write may find the socket full, which ends the loop.
            piece, self.position = frames.chunk_from(self.position, mine.sent)
            if piece:
                self.write(piece)
        self.end_if_done()

    def end_if_done(self) -> None:
        """End the response when all of a log that is over has been written."""
        mine = self._slice
        if self.position == mine.sent and mine.is_at_end:
            self.leave(None if mine.audience.is_cut else mine.audience.ending)

    def leave(self, last: bytes | None) -> None:
        """End the response after some last bytes; break it off with None."""
        if last is None:
            self._close(b"")
            return
        self._close(chunk(last) + _LAST_CHUNK)

    def write_notice(self, data: bytes) -> None:
        """Write something that has no position, unless the socket is full."""
        if self.position >= 0:
            self.write(data)

    def has_stalled(self) -> bool:
        """Whether nothing was taken for too long; asked once each heartbeat.

        Also of what was to be the end: to close a transport waits for its buffer.
        """
        before = self._unsent_bytes
        self._unsent_bytes = self._transport.get_write_buffer_size() if self.position < 0 else 0
        is_stuck = self._unsent_bytes > 0 and self._unsent_bytes >= before
        self._ticks = self._ticks + 1 if is_stuck else 0
        return self._ticks > _STALLED_TICKS

    def drop(self) -> None:
        """Break the connection off."""
        self._transport.abort()

    def shutdown(self) -> None:
        """Called by uvicorn when it stops, on each of its connections."""
        self._close(_LAST_CHUNK)

    def pause_writing(self) -> None:
        """Called by the transport when its buffer is full: stand still."""
        self._is_full = True
        if self.position >= 0:
            self._paused_at, self.position = self.position, _PAUSED

    def resume_writing(self) -> None:
        """Called by the transport when there is room again."""
        self._is_full = False
        if self.position == _PAUSED:
            self.position = self._paused_at
            self.catch_up()

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the transport at the end, whoever ended it."""
        del exc
        self.position = _GONE
        self._connections.discard(self)
        left, self._slice = self._slice, None
        if left is not None:
            left.audience.leave(left, self)

    def _begin_again(self) -> None:
        rewind = self._slice.audience.rewind
        self._epoch, self.position = self._slice.epoch, 0
        if rewind:
            self.write(chunk(rewind))
        else:
            self._close(b"")

    def _close(self, last: bytes) -> None:
        if self.position != _GONE:
            self.position = _GONE
            if last:
                self.write(last)
            self._transport.close()
