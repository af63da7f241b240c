"""The audience of one log on one wire: all connections that were handed over. The tight loop.

Connections are held in slices. In each turn of the event loop one slice is written to, the one that
was written to longest ago. A log with thousands of readers so delays the other logs by a fraction
of a millisecond, and a slice whose turn comes late gets every frame that came until then.
"""

import asyncio
import time
from collections import Counter
from collections.abc import MutableMapping
from typing import NamedTuple

from tickertape.api.fanout.http_chunk import chunk
from tickertape.api.fanout.hub import Hub
from tickertape.api.fanout.live_connection import LiveConnection
from tickertape.api.fanout.rendering import Rendering
from tickertape.api.fanout.slice import SLICE_CONNECTIONS, Slice
from tickertape.api.fanout.watched_log import WatchedLog
from tickertape.api.fanout.wire import Dialect
from tickertape.runtime.json_types import JsonObject

# The write interval grows with the number of readers up to the setting, because writing to a few
# readers at once costs too little to make them wait.
_FULL_INTERVAL_CONNECTIONS = 256

AudienceKey = tuple[WatchedLog, Dialect]
_now_s = time.monotonic


class _Sample(NamedTuple):
    """An entry whose way to the readers is timed: it is the last of the first `frames` ones."""

    frames: int
    arrived_s: float


class Audience:
    """Writes the frames of one rendering to its connections as they come.

    The first frame after a quiet time goes out at once. After it, each connection gets at most one
    write in `interval_s`, which holds all frames that came in between.

    `open_audiences` is the register of this process: an audience stands there under its log and
    dialect from its start until its last connection has left.
    """

    def __init__(
        self,
        hub: Hub,
        watched: WatchedLog,
        rendering: Rendering,
        dialect: Dialect,
        open_audiences: "MutableMapping[AudienceKey, Audience]",
        *,
        interval_s: float,
    ) -> None:
        self._hub = hub
        self.watched = watched
        self._rendering = rendering
        self._dialect = dialect
        self._open_audiences = open_audiences
        self.frames = rendering.frames
        self._longest_interval_s = interval_s
        # The shortest time between two writes to a connection.
        self.interval_s = 0.0
        self._loop = asyncio.get_running_loop()
        # Ordered by their last write, oldest first: if the first one is up to date, all are.
        self._slices: list[Slice] = []
        self._count = 0
        self._timer: asyncio.TimerHandle | None = None
        self._at_last_tick = (0, 0)
        self._counts = hub.counts
        self._sample: _Sample | None = None
        watched.listen(self.wake, self._write_notice)
        open_audiences[watched, dialect] = self

    def __len__(self) -> int:
        return self._count

    @property
    def dropped(self) -> Counter[str]:
        """How many connections of this process were broken off, by the reason."""
        return self._counts.dropped

    @property
    def is_over(self) -> bool:
        """Whether no frame will follow those in `frames`."""
        return self.watched.tape.is_over or self._rendering.is_over or self.watched.is_gone

    @property
    def is_cut(self) -> bool:
        """Whether the stream must break off at its end, so that it does not look complete."""
        return self._rendering.is_cut or (self._is_lost and not self.ending)

    @property
    def ending(self) -> bytes:
        """The bytes that report a lost log; empty unless the log was lost."""
        return self._rendering.wire.notice("gone", {}) if self._is_lost else b""

    @property
    def rewind(self) -> bytes:
        """The bytes that make a client start over; empty on wires that cannot express it."""
        return self._rendering.wire.notice("rewind", {"reason": "log_changed"})

    @property
    def _is_lost(self) -> bool:
        return self.watched.is_gone and not self._rendering.is_over

    def join(self, connection: LiveConnection, position: int, epoch: int) -> None:
        """Start a connection at a position that was looked up in `epoch`; holds the tape for it."""
        joined = next((each for each in self._slices if len(each) < SLICE_CONNECTIONS), None)
        if joined is None:
            joined = Slice(self)
            # A new slice starts up to date, so it goes to the back of the queue.
            self._slices.append(joined)
        self._count_by(1)
        self._hub.live_connections += 1
        self._hub.hold(self.watched)
        joined.add(connection)
        connection.begin(joined, position, epoch)
        for kind, data in self.watched.notices.items():
            connection.write_notice(chunk(self._rendering.wire.notice(kind, data)))

    def on_connection_left(self, left: Slice) -> None:
        """Account for a connection that a slice has let go; the last one ends the audience."""
        if not left:
            self._slices.remove(left)
        self._count_by(-1)
        self._hub.live_connections -= 1
        self._hub.release(self.watched)
        if not self._slices:
            self.watched.leave(self.wake, self._write_notice)
            if self._timer is not None:
                self._timer.cancel()
            del self._open_audiences[self.watched, self._dialect]

    def wake(self) -> None:
        """Write what is new, now or when the interval is over."""
        now_s, slices = self._loop.time(), self._slices
        if self._sample is None and now_s >= self._counts.sample_from_s:
            self._begin_sample()
        if self._timer is not None or not slices:
            return
        first = slices[0]
        if first.next_write_at_s > now_s:
            self._timer = self._loop.call_later(first.next_write_at_s - now_s, self._turn)
        elif len(slices) == 1 and self._sample is None:
            # Most logs have a few readers, and most entries are not timed.
            first.write(now_s)
        else:
            self._turn()

    def tick(self) -> None:
        """Drop stalled connections, and comment on a quiet stream. Called each heartbeat."""
        for connection in self._connections():
            if connection.has_stalled():
                connection.drop("stalled")
        there = (self.watched.epoch, self.frames.count)
        if there == self._at_last_tick:
            self._write_to_all(self._dialect.comment)
        self._at_last_tick = there

    def drain(self) -> None:
        """End all connections now, each with a separate farewell. Without one, break them off.

        With the same farewell, all readers of a log would reconnect in the same instant.
        """
        for connection in self._connections():
            connection.leave(make_farewell(self._dialect))

    def _turn(self) -> None:
        self._timer = None
        first = self._slices[0]
        if len(self._slices) == 1:
            first.write(self._loop.time())
            if self._sample is not None:
                self._observe(self._sample)
            return
        self._slices.append(self._slices.pop(0))
        began_s = time.monotonic()
        first.write(self._loop.time())
        if self._sample is not None:
            self._observe(self._sample)
        if self._slices[0].is_behind:
            # Continue in the loop's next turn, because uvloop sends at the end of this one.
            self._timer = self._loop.call_later(0, self._rest, began_s)

    def _begin_sample(self) -> None:
        """Time the newest entry, unless a slice has it already."""
        if self._slices and self._slices[-1].sent < self.frames.count:
            self._counts.sample()
            self._sample = _Sample(self.frames.count, _now_s())

    def _observe(self, sample: _Sample) -> None:
        """Observe a write to a slice, until each slice has the entry that is timed."""
        is_void = self.frames.count < sample.frames  # the log was replaced
        if not is_void:
            self._counts.delays.observe(_now_s() - sample.arrived_s)
        if is_void or not self._slices or self._slices[0].sent >= sample.frames:
            self._sample = None

    def _rest(self, began_s: float) -> None:
        """Leave the loop to other logs for as long as this turn took since `began_s`.

        Beside others, a log so takes half a core, whatever the number of its readers. Frames that
        come during the rest go out with the next write to each connection. If the setting asks for
        each event in a separate write, there is no time to rest.
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

    def _write_notice(self, kind: str, data: JsonObject) -> None:
        self._write_to_all(self._rendering.wire.notice(kind, data))

    def _write_to_all(self, body: bytes) -> None:
        if notice := chunk(body):
            for each in self._slices:
                each.notices += notice
            self.wake()


def make_farewell(dialect: Dialect) -> bytes | None:
    """The last bytes of one connection before a shutdown; None where it has to be broken off."""
    return dialect.farewell() if dialect.farewell is not None else None
