"""One log's frames, on one wire, to all connections that were handed over: the tight loop.

Connections are held in slices, and in each turn of the event loop one slice is written to, the one
that was written to longest ago: a log with thousands of readers delays the others by a fraction of
a millisecond, and a slice whose turn comes late gets what came until then, not what there was when
the first one was written to.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Any

from tickertape.api.fanout.frames import chunk
from tickertape.api.fanout.hub import Hub
from tickertape.api.fanout.live_connection import LiveConnection
from tickertape.api.fanout.slice import SLICE_CONNECTIONS, Slice
from tickertape.api.fanout.tape import Rendering
from tickertape.api.fanout.watched_log import WatchedLog
from tickertape.api.protocols.native.wire import COMMENT

# The write interval grows with the readers up to the setting: few readers cost too little to wait.
_FULL_INTERVAL_CONNECTIONS = 256


class Audience:
    """Writes the frames of one rendering to its connections as they come.

    The first frame after a quiet time goes out at once; after it, at most one write per connection
    in `interval_s`, which takes all frames that came meanwhile.
    """

    def __init__(
        self,
        hub: Hub,
        watched: WatchedLog,
        rendering: Rendering,
        *,
        interval_s: float,
        has_comments: bool,
        on_empty: Callable[[], None],
    ) -> None:
        self._hub = hub
        self._watched = watched
        self._rendering = rendering
        self.frames = rendering.frames
        self._longest_interval_s = interval_s
        # The shortest time between two writes to a connection.
        self.interval_s = 0.0
        self._has_comments = has_comments
        self._on_empty = on_empty
        self._loop = asyncio.get_running_loop()
        # The first is the one that was written to longest ago: if it is up to date, all are.
        self._slices: list[Slice] = []
        self._count = 0
        self._timer: asyncio.TimerHandle | None = None
        self._at_last_tick = (0, 0)
        watched.listen(self.wake, self._write_notice)

    def __len__(self) -> int:
        return self._count

    @property
    def epoch(self) -> int:
        """How often the log turned out to be another one; frames before that do not count."""
        return self._watched.epoch

    @property
    def is_over(self) -> bool:
        """Whether no frame will follow those there are."""
        return self._watched.tape.is_over or self._rendering.is_over or self._watched.is_gone

    @property
    def is_cut(self) -> bool:
        """Whether the end is to be broken off, so that it does not look whole."""
        return self._rendering.is_cut or (self._is_lost and not self.ending)

    @property
    def ending(self) -> bytes:
        """What says that the log is gone, on wires that can."""
        return self._rendering.wire.notice("gone", {}) if self._is_lost else b""

    @property
    def rewind(self) -> bytes:
        """What tells a reader to begin again; empty on wires that cannot."""
        return self._rendering.wire.notice("rewind", {"reason": "log_changed"})

    @property
    def _is_lost(self) -> bool:
        return self._watched.is_gone and not self._rendering.is_over

    def join(self, connection: LiveConnection, position: int, epoch: int) -> None:
        """Let a connection read from a position on, which was looked up in that epoch."""
        joined = next((each for each in self._slices if len(each) < SLICE_CONNECTIONS), None)
        if joined is None:
            joined = Slice(self)
            # Its first reader gets all there is: it is as if it had just been written to.
            self._slices.append(joined)
        self._count_by(1)
        self._hub.live_connections += 1
        self._hub.hold(self._watched)
        joined.add(connection)
        connection.begin(joined, position, epoch)
        for kind, data in self._watched.notices.items():
            connection.write_notice(chunk(self._rendering.wire.notice(kind, data)))

    def leave(self, left: Slice, connection: LiveConnection) -> None:
        """Let a connection go; called once, whoever ended it."""
        left.remove(connection)
        if not left:
            self._slices.remove(left)
        self._count_by(-1)
        self._hub.live_connections -= 1
        self._hub.release(self._watched)
        if not self._slices:
            self._watched.leave(self.wake, self._write_notice)
            if self._timer is not None:
                self._timer.cancel()
            self._on_empty()

    def wake(self) -> None:
        """Something came: write it now, or when the interval is over."""
        if self._timer is not None or not self._slices:
            return
        first, now_s = self._slices[0], self._loop.time()
        if first.next_write_at_s > now_s:
            self._timer = self._loop.call_later(first.next_write_at_s - now_s, self._turn)
        else:
            self._turn()

    def tick(self) -> None:
        """Each heartbeat: a comment where nothing came since the last; drop who stalls."""
        for connection in self._connections():
            if connection.has_stalled():
                connection.drop()
        there = (self.epoch, self.frames.count)
        if there == self._at_last_tick and self._has_comments:
            self._note(COMMENT)
        self._at_last_tick = there

    def drain(self, farewell: Callable[[], bytes] | None) -> None:
        """End all connections now, each with a farewell of its own; with None, break them off.

        One farewell for all would have every reader of a log come back in the same instant.
        """
        for connection in self._connections():
            connection.leave(farewell() if farewell is not None else None)

    def _turn(self) -> None:
        self._timer = None
        first = self._slices[0]
        if len(self._slices) == 1:
            first.write(self._loop.time())
            return
        self._slices.append(self._slices.pop(0))
        began_s = time.monotonic()
        first.write(self._loop.time())
        if self._slices[0].is_behind:
            # In the loop's next turn: uvloop writes at the end of this one.
            self._timer = self._loop.call_later(0, self._rest, began_s)

    def _rest(self, began_s: float) -> None:
        """Let other logs have the loop for as long as was written since `began_s`.

        So beside others a log takes half a core, whatever the number of its readers, and what comes
        meanwhile goes out with the next write to each of them. Events that shall go out one by one
        leave no room for that.
        """
        is_alone = self._hub.live_connections == self._count
        rest_s = 0.0 if is_alone or not self._longest_interval_s else time.monotonic() - began_s
        delay_s = max(rest_s, self._slices[0].next_write_at_s - self._loop.time())
        self._timer = self._loop.call_later(delay_s, self._turn)

    def _count_by(self, change: int) -> None:
        self._count += change
        share = min(1.0, self._count / _FULL_INTERVAL_CONNECTIONS)
        self.interval_s = self._longest_interval_s * share

    def _connections(self) -> list[LiveConnection]:
        return [connection for each in self._slices for connection in each]

    def _write_notice(self, kind: str, data: dict[str, Any]) -> None:
        self._note(self._rendering.wire.notice(kind, data))

    def _note(self, body: bytes) -> None:
        if note := chunk(body):
            for each in self._slices:
                each.notes += note
            self.wake()
