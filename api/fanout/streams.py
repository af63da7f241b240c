"""The door to the fan-out: opens the stream of a log, and ends all streams when the process drains.

`Streams.follow` alone holds a tape for a response and releases it. A protocol passes a `Locate`,
which finds where its client left off; it never touches the tape's life.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from enum import IntEnum
from typing import NamedTuple, Protocol

from starlette.responses import Response

from tickertape.api.fanout.audience import Audience, AudienceKey, make_farewell
from tickertape.api.fanout.conversation_checks import ConversationChecks
from tickertape.api.fanout.hub import Hub
from tickertape.api.fanout.live_connection import LiveConnection
from tickertape.api.fanout.log_response import LogResponse, Reading
from tickertape.api.fanout.permit import Permit
from tickertape.api.fanout.plain_reader import PlainReader
from tickertape.api.fanout.queue_positions import QueuePositions
from tickertape.api.fanout.rendering import Rendering
from tickertape.api.fanout.stream_response import OnLeft
from tickertape.api.fanout.tape import Tape
from tickertape.api.fanout.waiting import Waiting
from tickertape.api.fanout.watched_log import WatchedLog
from tickertape.api.fanout.watchers import Watchers
from tickertape.api.fanout.wire import CUT, Dialect, Frame
from tickertape.broker.new_requests import NewRequest
from tickertape.broker.queue_lines import QueueLines
from tickertape.broker.requests import Record
from tickertape.runtime.settings import Settings


class Start(NamedTuple):
    """Where a stream starts: `first`, then the frames from `position` on.

    With `is_needless`, the client has all there will ever be, and the response is an empty 204.
    `headers` belong to the response.
    """

    position: int = 0
    first: bytes = b""
    is_needless: bool = False
    headers: Mapping[str, str] = {}


class Locate(Protocol):
    """Finds where a stream starts."""

    def __call__(self, tape: Tape, rendering: Rendering, *, is_current: bool) -> Start | None:
        """Where to start; None if the tape may not have reached that place yet.

        After None the tape is read up to the log's end and `locate` is called once more with
        `is_current`, when it has to return a Start. May raise a Problem that refuses the client.
        """
        ...


class Stoppable(Protocol):
    """Something that a drain ends early."""

    def stop(self) -> None:
        """End at once, because this process shuts down."""
        ...


class FrameReader(Stoppable, Protocol):
    """A reader of frames for plain ASGI."""

    @property
    def was_stopped(self) -> bool:
        """Whether `stop` ended the reading before its end."""
        ...

    def frames(self) -> AsyncIterator[Frame]:
        """What to send, piece by piece."""
        ...


def start_of_log(tape: Tape, rendering: Rendering, *, is_current: bool) -> Start:
    """Locate the first entry."""
    del tape, rendering, is_current
    return Start()


class _Ending(IntEnum):
    NO = 0
    ANNOUNCED = 1
    PARTING = 2
    CUT = 3


class Streams:
    """Opens streams; `run` has to be running. Closing the app calls `drain` and cancels `run`.

    A process that ends calls `announce`, then `part`, then `drain`.
    """

    def __init__(
        self,
        hub: Hub,
        lines: QueueLines,
        settings: Settings,
        *,
        watchers: Watchers,
        checks: ConversationChecks,
        no_worker_since: Callable[[str], float | None],
        position_interval_s: float,
    ) -> None:
        self.hub = hub
        self.watchers = watchers
        self.checks = checks
        self._positions = QueuePositions(hub, lines, position_interval_s, no_worker_since)
        self.heartbeat_s = settings.heartbeat_s
        self._coalesce_s = settings.coalesce_ms / 1000
        self._readers: set[Stoppable] = set()
        self._audiences: dict[AudienceKey, Audience] = {}
        self._resuming: set[Stoppable] = set()
        self._ending = _Ending.NO

    @property
    def is_up(self) -> bool:
        """Whether streams follow without delay."""
        return self.hub.is_up

    @property
    def open_streams(self) -> int:
        """How many streams are open."""
        return len(self._readers) + self.hub.live_connections

    @property
    def is_ending(self) -> bool:
        """Whether the process was asked to end, so that new calls had better go elsewhere."""
        return self._ending >= _Ending.ANNOUNCED

    @property
    def is_draining(self) -> bool:
        """Whether `part` or `drain` was called, so that no call may begin."""
        return self._ending >= _Ending.PARTING

    async def run(self) -> None:
        """Follow the watched logs until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.hub.run(), name="hub")
            group.create_task(self._positions.run(), name="positions")
            group.create_task(self.watchers.run(), name="watchers")
            group.create_task(self.checks.run(), name="conversation checks")
            group.create_task(self._tick(), name="heartbeats")

    def announce(self) -> None:
        """Note that the process is about to end. Streams and calls go on, and new ones begin."""
        self._ending = max(self._ending, _Ending.ANNOUNCED)

    def part(self) -> None:
        """End the streams whose clients resume by themselves, with a farewell; the others go on."""
        self._ending = max(self._ending, _Ending.PARTING)
        for (_, dialect), audience in list(self._audiences.items()):
            if dialect.farewell is not None:
                audience.drain()
        for reader in list(self._resuming):
            reader.stop()

    def drain(self) -> None:
        """End every open stream and every wait now. Streams without a farewell are broken off."""
        self._ending = _Ending.CUT
        for audience in list(self._audiences.values()):
            audience.drain()
        for reader in list(self._readers):
            reader.stop()

    async def follow(
        self,
        request_id: str,
        dialect: Dialect,
        locate: Locate = start_of_log,
        *,
        held: WatchedLog | None = None,
        waiting: Record | NewRequest | None = None,
        on_missing: Callable[[], Awaitable[object]] | None = None,
        on_left: OnLeft | None = None,
    ) -> Response:
        """A response that replays a log from where `locate` starts, and follows it to its end.

        `held` is the log if the caller holds it. `waiting` is the record of a request whose readers
        are shown its place in the queue and what it waits for. `on_missing` is called if there is
        no log. `on_left` is called when the client leaves before the end, or stalls. Raises
        Unavailable, and what `locate` and `on_missing` raise; the tape is released in any case.
        """
        if held is None:
            is_short = waiting is not None and waiting.is_short
            watched = await self.hub.acquire(request_id, is_short=is_short, dialect=dialect)
        else:
            watched = held
            self.hub.hold(watched)
        try:
            if watched.is_gone and on_missing is not None:
                await on_missing()
            rendering = await self.hub.rendering(watched, dialect.name, dialect.make)
            start = await self._locate(watched, rendering, locate)
            if start.is_needless:
                self.hub.release(watched)
                return Response(status_code=204)
        except BaseException:
            self.hub.release(watched)
            raise
        if waiting is not None:
            self._positions.show(watched, waiting)
        at = (start.position, watched.epoch, start.first, start.headers)
        reading = Reading(watched, dialect, rendering, *at)
        return LogResponse(self, reading, on_left=on_left)

    async def _locate(self, watched: WatchedLog, rendering: Rendering, locate: Locate) -> Start:
        start = locate(watched.tape, rendering, is_current=watched.tape.is_over)
        if start is None:
            # The client may have read further at another process, which pushes reached first.
            await self.hub.catch_up(watched)
            start = locate(watched.tape, rendering, is_current=True)
        if start is None:
            raise AssertionError("locate found no start in a tape that is up to date")
        return start

    def join(self, reading: Reading, connection: LiveConnection) -> None:
        """Add a connection that was handed over to the audience of its log and dialect."""
        key = (reading.watched, reading.dialect)
        audience = self._audiences.get(key)
        if audience is None:
            audience = Audience(
                self.hub,
                reading.watched,
                reading.rendering,
                reading.dialect,
                self._audiences,
                interval_s=self._coalesce_s,
            )
        audience.join(connection, reading.position, reading.epoch)
        if self._ends(resumes=reading.dialect.farewell is not None):
            # `part` or `drain` was called while the response head was on its way, before this
            # connection could be seen.
            connection.leave(make_farewell(reading.dialect))

    def frames(self, reading: Reading) -> AsyncIterator[Frame]:
        """The frames of a reading, for plain ASGI."""
        reader = PlainReader(
            reading.watched,
            reading.rendering,
            reading.position,
            epoch=reading.epoch,
            comment=reading.dialect.comment,
            heartbeat_s=self.heartbeat_s,
        )
        return self.serve(reader, reading.dialect, first=reading.first)

    def release(self, reading: Reading) -> None:
        """Release the tape of a response that is over, or whose connection an audience holds."""
        self.hub.release(reading.watched)

    async def serve(
        self, reader: FrameReader, dialect: Dialect, *, first: bytes = b""
    ) -> AsyncIterator[Frame]:
        """The frames of a reader that a drain ends with the dialect's farewell."""
        with self._stopped_by_drain(reader, resumes=dialect.farewell is not None):
            if first:
                yield first
            async for frame in reader.frames():
                yield frame
            if reader.was_stopped:
                farewell = make_farewell(dialect)
                yield CUT if farewell is None else farewell

    @contextlib.contextmanager
    def waiting(self, watched: WatchedLog, permit: Permit | None) -> Iterator[Waiting]:
        """A wait for something in a log, which a drain ends, and the end of the permit."""
        waiting = Waiting(watched)
        if permit is not None:
            permit.hold(waiting, takes_events=False)
        with self._stopped_by_drain(waiting):
            yield waiting

    @contextlib.contextmanager
    def _stopped_by_drain(self, reader: Stoppable, *, resumes: bool = False) -> Iterator[None]:
        self._readers.add(reader)
        if resumes:
            self._resuming.add(reader)
        if self._ends(resumes=resumes):
            # `part` or `drain` was called before this reader could be seen.
            reader.stop()
        try:
            yield
        finally:
            self._readers.discard(reader)
            self._resuming.discard(reader)

    def _ends(self, *, resumes: bool) -> bool:
        return self._ending >= (_Ending.PARTING if resumes else _Ending.CUT)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(self.heartbeat_s)
            for audience in list(self._audiences.values()):
                audience.tick()
