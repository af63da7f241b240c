"""Some readers of one log, written to together in one turn of the event loop.

`Slice.write` writes the frames [a, b) and keeps one invariant: no connection skips a frame or gets
one twice, and after the write every connection that can take bytes stands at b. Where a connection
stands decides what it gets:

    position = a        it kept up: the slice writes [a, b) to it
    a < position < b    it joined ahead of the slice: it writes [position, b) itself, in `catch_up`
    position = b        it has everything
    paused (< 0)        its socket is full: it catches up when the socket has room
    gone (< 0)          it has left

A connection joins ahead of its slice if its cursor is newer than what the slice has sent, while the
slice waits for its interval or its turn. Without `catch_up` that connection would never stand at a
again, and its client would wait without end.

All connections get the same bytes object, joined and framed as an HTTP chunk once. There is no
queue, task or future per connection. One write costs 2 to 10 us; everything else together costs
less than one.
"""

from collections.abc import Iterator
from typing import Protocol

from tickertape.api.fanout.live_connection import Broadcast, LiveConnection

# This many writes take about half a millisecond, during which other logs of the process wait.
SLICE_CONNECTIONS = 64


class SliceOwner(Broadcast, Protocol):
    """What a slice needs to know of its audience."""

    def on_connection_left(self, left: "Slice") -> None:
        """Account for a connection that the slice has let go."""
        ...


class Slice:
    """At most SLICE_CONNECTIONS connections of an audience.

    Only the audience calls `write` and `add`; connections call `release` and `follow_epoch`.

    `sent`: how many frames every connection that kept up has. `notices`: bytes without a position,
    to be written before the next frame. `next_write_at_s`: the event loop's time before which the
    slice is not written to.
    """

    __slots__ = (
        "_connections",
        "_is_ended",
        "audience",
        "epoch",
        "next_write_at_s",
        "notices",
        "sent",
    )

    def __init__(self, audience: SliceOwner) -> None:
        self.audience = audience
        self._connections: set[LiveConnection] = set()
        self._is_ended = False
        self.epoch = audience.watched.epoch
        self.sent = audience.frames.count
        self.notices = b""
        self.next_write_at_s = 0.0

    def __len__(self) -> int:
        return len(self._connections)

    def __iter__(self) -> Iterator[LiveConnection]:
        return iter(self._connections)

    @property
    def is_behind(self) -> bool:
        """Whether there is something to write, or a response to end."""
        audience = self.audience
        return (
            self.sent < audience.frames.count
            or self.notices != b""
            or self.epoch != audience.watched.epoch
            or (audience.is_over and not self._is_ended)
        )

    @property
    def is_at_end(self) -> bool:
        """Whether nothing will follow the frames that have been sent."""
        return self.audience.is_over and self.sent >= self.audience.frames.count

    def add(self, connection: LiveConnection) -> None:
        """Add a connection, whose `begin` writes what the slice has sent."""
        self._connections.add(connection)

    def release(self, connection: LiveConnection) -> None:
        """Let a connection go, once."""
        self._connections.remove(connection)
        self.audience.on_connection_left(self)

    def write(self, now_s: float) -> None:
        """Write the new frames to every connection that kept up, and end those that are done."""
        audience = self.audience
        if self.epoch != audience.watched.epoch:
            self.follow_epoch()
        begin, end = self.sent, audience.frames.count
        data = audience.frames.chunk_between(begin, end) if begin < end else b""
        if self.notices:
            data, self.notices = self.notices + data, b""
        self.sent = end
        if data:
            self.next_write_at_s = now_s + audience.interval_s
        # A copy, in case a transport reports a broken connection from within `write`.
        for connection in tuple(self._connections):
            if connection.position == begin:
                connection.position = end
                if data:
                    connection.write(data)
            elif begin < connection.position < end:  # it joined ahead of this slice
                connection.catch_up()
        if audience.is_over:
            self._is_ended = True
            for connection in tuple(self._connections):
                connection.end_if_done()

    def follow_epoch(self) -> None:
        """Start over if the log has been replaced by another one."""
        if self.epoch != self.audience.watched.epoch:
            self.epoch = self.audience.watched.epoch
            self.sent = 0
            self._is_ended = False
            for connection in tuple(self._connections):
                connection.catch_up()
