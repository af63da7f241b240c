"""One log's frames, on one wire, to all connections that were handed over: the tight loop.

A connection takes part in writing frames [a, b) only if its position is a. That alone makes
joiners, laggards and slices right: who is elsewhere is skipped, and catches up by itself. All get
the same bytes object, joined and framed as an HTTP chunk once. No queue, no task, no future per
connection; one write costs 2 to 3 us, and everything else together less than one.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from api.frames import Frames, chunk
from api.hub import Hub
from api.live_connection import LiveConnection
from api.tape import Rendering
from api.watched import Watched
from api.wires.native import COMMENT

# Connections written to before the loop looks at its sockets again: a log with thousands of readers
# delays the others by a fraction of a millisecond and not by all of its writes.
SLICE_CONNECTIONS = 128
# The write interval grows with the readers up to the setting: few readers cost too little to wait.
_FULL_INTERVAL_CONNECTIONS = 256


class FanOut:
    """Writes the frames of one rendering to its connections as they come.

    The first frame after a quiet time goes out at once; after it, at most one write per connection
    in `interval_s`, which takes all frames that came meanwhile.
    """

    def __init__(
        self,
        hub: Hub,
        watched: Watched,
        rendering: Rendering,
        *,
        interval_s: float,
        has_comments: bool,
        on_empty: Callable[[], None],
    ) -> None:
        self._hub = hub
        self._watched = watched
        self._rendering = rendering
        self._interval_s = interval_s
        self._has_comments = has_comments
        self._on_empty = on_empty
        self._loop = asyncio.get_running_loop()
        self._connections: set[LiveConnection] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._is_writing = False
        self._next_write_at = 0.0
        self._was_quiet = False
        self.epoch = watched.rewinds
        self.sent = len(rendering.frames)
        watched.wakes.add(self.wake)
        watched.asides.add(self._write_aside)

    def __len__(self) -> int:
        return len(self._connections)

    @property
    def frames(self) -> Frames:
        """The frames there are; those before `sent` have been written to all who kept up."""
        return self._rendering.frames

    @property
    def is_at_end(self) -> bool:
        """Whether nothing will follow what has been sent."""
        is_last = self._watched.tape.is_over or self._rendering.is_over or self._watched.is_gone
        return is_last and self.sent >= len(self.frames)

    @property
    def is_cut(self) -> bool:
        """Whether the end is to be broken off, so that it does not look whole."""
        return self._rendering.is_cut or (self._is_lost and not self.ending)

    @property
    def ending(self) -> bytes:
        """What says that the log is gone, on wires that can."""
        return self._rendering.wire.aside("gone", {}) if self._is_lost else b""

    @property
    def rewind(self) -> bytes:
        """What tells a reader to begin again; empty on wires that cannot."""
        return self._rendering.wire.aside("rewind", {"reason": "log_changed"})

    @property
    def _is_lost(self) -> bool:
        return self._watched.is_gone and not self._rendering.is_over

    def join(self, connection: LiveConnection, position: int) -> None:
        """Let a connection read from a position on."""
        self._connections.add(connection)
        self._hub.live_connections += 1
        self._hub.hold(self._watched)
        connection.begin(self, position)
        for kind, data in self._watched.news.items():
            connection.write_aside(chunk(self._rendering.wire.aside(kind, data)))

    def leave(self, connection: LiveConnection) -> None:
        """Let a connection go; called once, whoever ended it."""
        self._connections.remove(connection)
        self._hub.live_connections -= 1
        self._hub.release(self._watched)
        if not self._connections:
            self._watched.wakes.discard(self.wake)
            self._watched.asides.discard(self._write_aside)
            if self._timer is not None:
                self._timer.cancel()
            self._on_empty()

    def wake(self) -> None:
        """Something came: write it now, or when the interval is over."""
        if self._is_writing or self._timer is not None:
            return
        delay_s = self._next_write_at - self._loop.time()
        if delay_s <= 0:
            self._write()
        else:
            self._timer = self._loop.call_later(delay_s, self._write)

    def tick(self) -> None:
        """Each heartbeat: a comment where nothing was written since the last; drop who stalls."""
        for connection in [each for each in self._connections if each.has_stalled()]:
            connection.drop()
        if self._was_quiet and self._has_comments:
            self._write_now(COMMENT)
        self._was_quiet = True

    def drain(self, farewell: Callable[[], bytes] | None) -> None:
        """End all connections now, each with a farewell of its own; with None, break them off.

        One farewell for all would have every reader of a log come back in the same instant.
        """
        for connection in list(self._connections):
            connection.leave(farewell() if farewell is not None else None)

    def _write(self) -> None:
        self._timer = None
        if self.epoch != self._watched.rewinds:
            self._begin_again()
        begin, end = self.sent, len(self.frames)
        if begin < end:
            share = min(1.0, len(self._connections) / _FULL_INTERVAL_CONNECTIONS)
            self._next_write_at = self._loop.time() + self._interval_s * share
            self._was_quiet = False
            self.sent = end
            self._write_slices(chunk(self.frames.between(begin, end)), begin, end)
        elif self.is_at_end:
            self._end_all()

    def _write_slices(self, data: bytes, begin: int, end: int) -> None:
        if not data:
            self._advance(begin, end)
        elif len(self._connections) <= SLICE_CONNECTIONS:
            _write_slice(list(self._connections), data, begin, end)
        else:
            self._is_writing = True
            self._write_from(list(self._connections), 0, data, begin, end)
            return
        self._written()

    def _write_from(
        self, connections: list[LiveConnection], first: int, data: bytes, begin: int, end: int
    ) -> None:
        last = first + SLICE_CONNECTIONS
        _write_slice(connections[first:last], data, begin, end)
        if last < len(connections):
            # A timer, though it is due at once: uvloop runs call_soon's callbacks without looking
            # at the sockets in between.
            self._loop.call_later(0, self._write_from, connections, last, data, begin, end)
            return
        self._is_writing = False
        self._written()

    def _advance(self, begin: int, end: int) -> None:
        for connection in self._connections:
            if connection.position == begin:
                connection.position = end

    def _written(self) -> None:
        if self.is_at_end:
            self._end_all()
        elif len(self.frames) > self.sent or self.epoch != self._watched.rewinds:
            self.wake()

    def _begin_again(self) -> None:
        self.epoch = self._watched.rewinds
        self.sent = 0
        for connection in list(self._connections):
            connection.catch_up()

    def _end_all(self) -> None:
        for connection in list(self._connections):
            connection.end_if_done()

    def _write_aside(self, kind: str, data: dict[str, Any]) -> None:
        self._write_now(self._rendering.wire.aside(kind, data))

    def _write_now(self, body: bytes) -> None:
        if body:
            data = chunk(body)
            for connection in list(self._connections):
                connection.write_aside(data)


def _write_slice(connections: list[LiveConnection], data: bytes, begin: int, end: int) -> None:
    for connection in connections:
        if connection.position == begin:
            connection.position = end
            connection.write(data)
