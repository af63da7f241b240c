"""Streams of requests and conversations: who reads what, from where, on which wire."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack

from starlette.responses import Response

from tickertape.api.fanout.audience import Audience
from tickertape.api.fanout.hub import Hub
from tickertape.api.fanout.live_connection import LiveConnection
from tickertape.api.fanout.log_response import LogResponse, Reading
from tickertape.api.fanout.plain_reader import PlainReader
from tickertape.api.fanout.stream_response import OnLeft, StreamResponse
from tickertape.api.fanout.tape import Tape
from tickertape.api.fanout.waiting import Waiting
from tickertape.api.fanout.watched_log import WatchedLog
from tickertape.api.fanout.wire import CUT, Dialect, Frame
from tickertape.api.protocols.native.conversation_reader import ConversationReader, Place
from tickertape.api.protocols.native.wire import COMMENT, NATIVE, NativeWire
from tickertape.broker.codec import Cursor
from tickertape.broker.connections import Connections
from tickertape.broker.conversations import Conversations
from tickertape.broker.errors import BrokerError, RequestMissing
from tickertape.broker.fold import fold
from tickertape.broker.requests import Record, Requests
from tickertape.runtime.settings import Settings

_POSITIONS_EVERY_S = 1.0
_POSITIONS_AT_ONCE = 200


class Streams:
    """Opens streams and ends them when the process drains; `run` has to be running."""

    def __init__(self, connections: Connections, settings: Settings) -> None:
        self.hub = Hub(connections, settings)
        self._requests = Requests(connections, settings)
        self._conversations = Conversations(connections, settings)
        self._heartbeat_s = settings.heartbeat_s
        self._coalesce_s = settings.coalesce_ms / 1000
        self._readers: set[PlainReader | ConversationReader | Waiting] = set()
        self._audiences: dict[tuple[WatchedLog, Dialect], Audience] = {}
        self._draining = asyncio.Event()

    @property
    def is_up(self) -> bool:
        """Whether streams follow without delay."""
        return self.hub.is_up

    @property
    def subscribers(self) -> int:
        """Open streams."""
        return len(self._readers) + self.hub.live_connections

    @property
    def is_draining(self) -> bool:
        """Whether `drain` was called."""
        return self._draining.is_set()

    async def run(self) -> None:
        """Follow the watched logs until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.hub.run(), name="hub")
            group.create_task(self._tell_positions(), name="positions")
            group.create_task(self._tick(), name="heartbeats")

    def drain(self) -> None:
        """End every open stream now; readers are told to come back."""
        self._draining.set()
        for (_, dialect), fanout in list(self._audiences.items()):
            fanout.drain(dialect.farewell)
        for reader in list(self._readers):
            reader.stop()

    async def follow(
        self, record: Record, dialect: Dialect, *, after: Cursor | None, snapshot: bool = False
    ) -> Response:
        """A response that replays a log after a cursor and then follows it to its end.

        204 when the request is over and the cursor is at its end. A cursor that cannot be continued
        gets `rewind` and a full replay. Raises Unavailable.
        """
        watched = await self.hub.acquire(record.request_id)
        tape = watched.tape
        rendering = tape.rendering(dialect.name, dialect.make)
        position = await self._position_after(watched, after)
        if tape.is_over and after is not None and position == len(tape.values):
            self.hub.release(watched)
            return Response(status_code=204)
        first = b""
        if position is None:
            first, position = rendering.wire.notice("rewind", {"reason": "cursor_not_found"}), 0
        if snapshot and position == 0 and isinstance(rendering.wire, NativeWire):
            first_folded, position = _folded(tape, rendering.wire)
            first += first_folded
        watched.tenant = record.tenant
        if record.waiting is not None:
            watched.keep_notice("waiting", record.waiting)
        return self.respond(watched, dialect, position=position, first=first)

    def respond(
        self,
        watched: WatchedLog,
        dialect: Dialect,
        *,
        position: int = 0,
        first: bytes = b"",
        on_left: OnLeft | None = None,
    ) -> Response:
        """A response that sends `first`, then the frames from a position on; releases the tape.

        `on_left` is called when the client goes before the end, or stalls.
        """
        rendering = watched.tape.rendering(dialect.name, dialect.make)
        reading = Reading(watched, rendering, position, watched.epoch, first)
        return LogResponse(
            self.hub,
            reading,
            join=lambda connection: self._join(reading, dialect, connection),
            frames=lambda: self._read(reading, dialect),
            headers=dialect.headers,
            on_left=on_left,
        )

    @contextlib.contextmanager
    def waiting(self, watched: WatchedLog) -> Iterator[Waiting]:
        """Something that waits for a log, and that a shutdown ends."""
        waiting = Waiting(watched)
        if self.is_draining:
            waiting.stop()
        self._readers.add(waiting)
        try:
            yield waiting
        finally:
            self._readers.discard(waiting)

    async def follow_conversation(
        self, tenant: str, conversation_id: str, *, after: str | None
    ) -> Response:
        """All requests of a conversation, one after the other; the stream stays open between them.

        `after` is the id of an event of such a stream. Raises Unavailable, CursorMalformed.
        """
        reader = ConversationReader(
            self.hub,
            self._conversations,
            tenant,
            conversation_id,
            place=Place.parse(after) if after else None,
            heartbeat_s=self._heartbeat_s,
        )
        return StreamResponse(self._frames(reader, COMMENT, NATIVE), AsyncExitStack())

    async def _position_after(self, watched: WatchedLog, after: Cursor | None) -> int | None:
        if after is None:
            return 0
        position = watched.tape.position_after(after)
        if position is None and not watched.tape.is_over:
            try:
                await self.hub.catch_up(watched)
            except BaseException:
                self.hub.release(watched)
                raise
            position = watched.tape.position_after(after)
        return position

    def _join(self, reading: Reading, dialect: Dialect, connection: LiveConnection) -> None:
        key = (reading.watched, dialect)
        if key not in self._audiences:
            self._audiences[key] = Audience(
                self.hub,
                reading.watched,
                reading.rendering,
                interval_s=self._coalesce_s,
                has_comments=dialect.has_comments,
                on_empty=lambda: self._forget(key),
            )
        self._audiences[key].join(connection, reading.position, reading.epoch)
        if self.is_draining:
            # The shutdown began while the head was on its way, and has passed this connection by.
            connection.leave(dialect.farewell() if dialect.farewell else None)

    def _forget(self, key: tuple[WatchedLog, Dialect]) -> None:
        del self._audiences[key]

    def _read(self, reading: Reading, dialect: Dialect) -> AsyncIterator[Frame]:
        reader = PlainReader(
            reading.watched,
            reading.rendering,
            reading.position,
            epoch=reading.epoch,
            heartbeat_s=self._heartbeat_s if dialect.has_comments else None,
        )
        return self._frames(reader, reading.first, dialect)

    async def _frames(
        self, reader: PlainReader | ConversationReader, first: bytes, dialect: Dialect
    ) -> AsyncIterator[Frame]:
        self._readers.add(reader)
        if self.is_draining:
            # The shutdown began while the head was on its way, and has passed this reader by.
            reader.stop()
        try:
            if first:
                yield first
            async for frame in reader.frames():
                yield frame
            if reader.was_stopped:
                yield dialect.farewell() if dialect.farewell else CUT
        finally:
            self._readers.discard(reader)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(self._heartbeat_s)
            for fanout in list(self._audiences.values()):
                fanout.tick()

    async def _tell_positions(self) -> None:
        while True:
            for watched in self.hub.queued()[:_POSITIONS_AT_ONCE]:
                request_id = watched.tape.request_id
                try:
                    position = await self._requests.position(request_id, watched.tenant)
                except RequestMissing:
                    continue
                except BrokerError:
                    break
                news = {"position": position}
                if position is not None and news != watched.notices.get("position"):
                    watched.publish_notice("position", news)
            await asyncio.sleep(_POSITIONS_EVERY_S)


def _folded(tape: Tape, wire: NativeWire) -> tuple[bytes, int]:
    """A snapshot, and the position after it. A terminal is not folded: it follows as an event."""
    entries = tape.entries()
    if tape.is_over:
        entries = entries[:-1]
    if not entries:
        return b"", 0
    return wire.snapshot(entries[-1].cursor, fold(entries).snapshot()), len(entries)
