"""Some readers of one log, who are written to in one turn of the event loop.

A connection takes part in writing frames [a, b) only if its position is a. That alone makes
laggards right: who is elsewhere is skipped, and catches up by itself. So does who joined between a
and b, knowing more than the others have been told. All get the same bytes object, joined and framed
as an HTTP chunk once. No queue, no task, no future per connection; one write costs 2 to 10 us, and
everything else together less than one.
"""

from collections.abc import Iterator
from typing import Any

from tickertape.api.fanout.live_connection import LiveConnection

# So many writes take about half a millisecond: that long the other logs of this process wait.
SLICE_CONNECTIONS = 64


class Slice:
    """At most SLICE_CONNECTIONS connections of a fan-out.

    `sent` frames have been written to all who kept up; `notes`, which have no position, are to be
    written before the next frame. Not before `next_write_at_s`, in the event loop's time.
    """

    __slots__ = (
        "_connections",
        "_is_ended",
        "audience",
        "epoch",
        "next_write_at_s",
        "notes",
        "sent",
    )

    def __init__(self, audience: Any) -> None:
        self.audience = audience
        self._connections: set[LiveConnection] = set()
        self._is_ended = False
        self.epoch = audience.epoch
        self.sent = audience.frames.count
        self.notes = b""
        self.next_write_at_s = 0.0

    def __len__(self) -> int:
        return len(self._connections)

    def __iter__(self) -> Iterator[LiveConnection]:
        return iter(self._connections)

    @property
    def is_behind(self) -> bool:
        """Whether there is something to write, or to end."""
        audience = self.audience
        return (
            self.sent < audience.frames.count
            or self.notes != b""
            or self.epoch != audience.epoch
            or (audience.is_over and not self._is_ended)
        )

    @property
    def is_at_end(self) -> bool:
        """Whether nothing will follow what has been sent."""
        return bool(self.audience.is_over and self.sent >= self.audience.frames.count)

    def add(self, connection: LiveConnection) -> None:
        """One more, who reads by itself up to `sent`."""
        self._connections.add(connection)

    def remove(self, connection: LiveConnection) -> None:
        """One less."""
        self._connections.remove(connection)

    def write(self, now_s: float) -> None:
        """Write all that came to all who kept up, and end those that have all there will be."""
        audience = self.audience
        if self.epoch != audience.epoch:
            self.follow_epoch()
        begin, end = self.sent, audience.frames.count
        data = audience.frames.chunk_between(begin, end) if begin < end else b""
        if self.notes:
            data, self.notes = self.notes + data, b""
        self.sent = end
        if data:
            self.next_write_at_s = now_s + audience.interval_s
        # A copy: a write that finds its connection broken takes it out.
        for connection in tuple(self._connections):
            if connection.position == begin:
                connection.position = end
                if data:
                    connection.write(data)
            elif begin < connection.position < end:
                connection.catch_up()
        if audience.is_over:
            self._is_ended = True
            for connection in tuple(self._connections):
                connection.end_if_done()

    def follow_epoch(self) -> None:
        """Begin again if the log has turned out to be another one."""
        if self.epoch != self.audience.epoch:
            self.epoch = self.audience.epoch
            self.sent = 0
            self._is_ended = False
            for connection in tuple(self._connections):
                connection.catch_up()
