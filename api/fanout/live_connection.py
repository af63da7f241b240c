"""What is left of an HTTP connection after uvicorn handed it over: a transport and a position.

Nothing of the request, the framework or uvicorn's own protocol is kept. An idle reader costs 2 KiB
instead of 23, and a write wakes no task.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Protocol

from tickertape.api.fanout.fanout_counts import DropReason
from tickertape.api.fanout.frames import Frames
from tickertape.api.fanout.http_chunk import LAST_CHUNK, chunk
from tickertape.api.fanout.peer import has_left
from tickertape.api.fanout.watched_log import WatchedLog

# A connection that takes nothing for this many heartbeats is dropped; its client resumes.
_STALLED_TICKS = 2
# A client of a stream has nothing to send. What was on its way is a call that was sent behind it.
_MOST_IGNORED_BYTES = 1024 * 1024
# Slices write at positions from 0 on, so a negative position is never written to.
_PAUSED = -1
_GONE = -2


class Broadcast(Protocol):
    """What a connection and its slice need to know of their audience; audience.py implements it."""

    frames: Frames
    interval_s: float
    watched: WatchedLog

    @property
    def is_over(self) -> bool:
        """Whether no frame will follow those in `frames`."""
        ...

    @property
    def is_cut(self) -> bool:
        """Whether the stream must break off at its end, so that it does not look complete."""
        ...

    @property
    def ending(self) -> bytes:
        """The bytes that report a lost log; empty unless the log was lost."""
        ...

    @property
    def rewind(self) -> bytes:
        """The bytes that make a client start over; empty on wires that cannot express it."""
        ...

    @property
    def dropped(self) -> Counter[str]:
        """How many connections were broken off, by the reason."""
        ...


class FullConnections(Protocol):
    """The connections whose sockets are full; serving/doorway.py implements it."""

    def add(self, connection: "LiveConnection", /) -> None:
        """Look at what the connection holds for its client."""
        ...

    def discard(self, connection: "LiveConnection", /) -> None:
        """Look at the connection no more, as its client has taken nearly all."""
        ...


class Members(Protocol):
    """What a connection is a member of until it is lost."""

    def discard(self, connection: "LiveConnection", /) -> None:
        """Let the connection go, once."""
        ...


class Group(Protocol):
    """The connections that are written to together; slice.py implements it."""

    sent: int
    epoch: int

    @property
    def audience(self) -> Broadcast:
        """What is broadcast to the group."""
        ...

    @property
    def is_at_end(self) -> bool:
        """Whether nothing will follow the frames that have been sent."""
        ...

    def release(self, connection: "LiveConnection") -> None:
        """Let a connection go, once."""
        ...

    def follow_epoch(self) -> None:
        """Start over if the log has been replaced by another one."""
        ...


class LiveConnection(asyncio.Protocol):
    """One reader. While its socket is full its position stands still, and nothing is buffered.

    A slice writes to a connection directly, through `write` and `position`, when the connection
    stands where the slice stands. Everything else is the connection's own business: `catch_up`
    writes what it missed, `pause_writing` and `resume_writing` follow the socket.
    """

    __slots__ = (
        "__weakref__",
        "_connections",
        "_epoch",
        "_full",
        "_group",
        "_ignored_bytes",
        "_is_full",
        "_own_bytes",
        "_paused_at",
        "_ticks",
        "_transport",
        "_unsent_bytes",
        "on_lost",
        "position",
        "write",
    )

    def __init__(
        self,
        transport: asyncio.Transport,
        connections: Members,
        *,
        is_full: bool = False,
    ) -> None:
        self._transport = transport
        self._connections = connections
        self._group: Group | None = None
        self._epoch = 0
        self._is_full = is_full
        self._ignored_bytes = 0
        self._paused_at = 0
        self._ticks = 0
        self._unsent_bytes = 0
        self._full: FullConnections | None = None
        # What was written to this connection alone, since its socket last had room.
        self._own_bytes = 0
        self.on_lost: Callable[[], None] | None = None
        self.position = _GONE
        self.write: Callable[[bytes], None] = transport.write

    def report_to(self, full: FullConnections) -> None:
        """Be a member of `full` while the socket is full."""
        self._full = full

    def own_unsent_bytes(self) -> int:
        """The bytes that wait for the client and that no other connection shares."""
        return min(self._own_bytes, self._transport.get_write_buffer_size())

    def write_own(self, data: bytes) -> None:
        """Write bytes that only this connection holds."""
        self._own_bytes += len(data)
        self.write(data)

    def begin(self, group: Group, position: int, epoch: int) -> None:
        """Join a group, at a position that was looked up in `epoch`; write what it has sent."""
        self._group = group
        self._epoch = epoch
        self.position = position
        if self._is_full:
            # The response head has filled the socket. The transport reports that only once, and it
            # did so before this object was its protocol.
            self.pause_writing()
        self.catch_up()

    def catch_up(self) -> None:
        """Write the frames that were missed, as far as the socket takes them."""
        group = self._group
        if group is None:
            return
        group.follow_epoch()
        if self._epoch != group.epoch and self.position >= 0:
            self._start_over(group)
        frames = group.audience.frames
        while 0 <= self.position < group.sent:
            # `position` is set before the write, because a write may find the socket full, which
            # sets `position` to _PAUSED and ends this loop.
            piece, self.position, is_shared = frames.chunk_from(self.position, group.sent)
            if is_shared:
                self.write(piece)
            elif piece:
                self.write_own(piece)
        self.end_if_done()

    def end_if_done(self) -> None:
        """End the response once every frame of a log that is over has been written."""
        group = self._group
        if group is not None and self.position == group.sent and group.is_at_end:
            self.leave(None if group.audience.is_cut else group.audience.ending)

    def leave(self, last: bytes | None) -> None:
        """End the response after some last bytes; None breaks it off."""
        if last is None:
            self._close(b"")
            return
        self._close(chunk(last) + LAST_CHUNK)

    def write_notice(self, data: bytes) -> None:
        """Write bytes that have no position, unless the socket is full."""
        if self.position >= 0:
            self.write(data)

    def has_stalled(self) -> bool:
        """Whether the client took nothing for too long, or left unread; called each heartbeat.

        A response that has ended counts too: a transport that closes waits for its buffer.
        """
        if self._is_deaf and has_left(self._transport):
            return True
        if self.position >= 0:
            self._own_bytes = 0
        before = self._unsent_bytes
        self._unsent_bytes = self._transport.get_write_buffer_size() if self.position < 0 else 0
        is_stuck = self._unsent_bytes > 0 and self._unsent_bytes >= before
        self._ticks = self._ticks + 1 if is_stuck else 0
        return self._ticks > _STALLED_TICKS

    def drop(self, reason: DropReason = "unread") -> None:
        """Break the connection off."""
        if self._group is not None:
            self._group.audience.dropped[reason] += 1
        self._transport.abort()

    def break_off(self) -> None:
        """End at once, because the client may not read any more."""
        self.drop("revoked")

    def send_event(self, event: bytes) -> None:
        """Send an event that is no part of the log, unless the socket is full."""
        self.write_notice(chunk(event))

    def shutdown(self) -> None:
        """Go on: uvicorn calls this on each of its connections, and `Streams` ends this one."""

    def pause_writing(self) -> None:
        """Stand still; the transport calls this when its buffer is full."""
        self._is_full = True
        if self._full is not None:
            self._full.add(self)
        if self.position >= 0:
            self._paused_at, self.position = self.position, _PAUSED

    def resume_writing(self) -> None:
        """Catch up; the transport calls this when its buffer has room."""
        self._is_full = False
        self._own_bytes = 0
        if self._full is not None:
            self._full.discard(self)
        if self.position == _PAUSED:
            self.position = self._paused_at
            self.catch_up()

    def data_received(self, data: bytes) -> None:
        """Throw away what the client sends, and read no more once it is much."""
        self._ignored_bytes += len(data)
        if self._is_deaf:
            self._transport.pause_reading()

    @property
    def _is_deaf(self) -> bool:
        return self._ignored_bytes > _MOST_IGNORED_BYTES

    def connection_lost(self, exc: Exception | None) -> None:
        """Leave the group; the transport calls this once, whichever side closed the connection."""
        del exc
        self.position = _GONE
        self._connections.discard(self)
        if self._full is not None:
            self._full.discard(self)
        group, self._group = self._group, None
        if group is not None:
            group.release(self)
        if self.on_lost is not None:
            self.on_lost()

    def _start_over(self, group: Group) -> None:
        rewind = group.audience.rewind
        self._epoch, self.position = group.epoch, 0
        if rewind:
            self.write(chunk(rewind))
        else:
            group.audience.dropped["replaced"] += 1
            self._close(b"")

    def _close(self, last: bytes) -> None:
        if self.position != _GONE:
            self.position = _GONE
            if last:
                self.write(last)
            self._transport.close()
