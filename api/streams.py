"""Streams of requests and conversations: who reads what, from where, on which wire."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack

from starlette.responses import Response

from api.conversation_stream import ConversationReader, Place
from api.fanout import FanOut
from api.hub import Hub, Watched
from api.log_response import LogResponse, Reading
from api.reader import Reader
from api.stream_response import StreamResponse
from api.tape import Rendering, Tape
from api.wires import CUT, Frame, Wire
from api.wires.native import COMMENT, NativeWire, retry_line
from api.wires.text import TextWire
from broker.codec import Cursor
from broker.connections import Connections
from broker.conversations import Conversations
from broker.errors import BrokerError
from broker.fold import fold
from broker.requests import Record, Requests
from broker.settings import Settings

_WIRES: dict[str, Callable[[], Wire]] = {"native": NativeWire, "text": TextWire}
_POSITIONS_EVERY_S = 1.0
_POSITIONS_AT_ONCE = 200
# Readers come back spread over this time after a shutdown, and not all in the same instant.
_RETURN_WITHIN_MS = 2000


class Streams:
    """Opens streams and ends them when the process drains; `run` has to be running."""

    def __init__(self, connections: Connections, settings: Settings) -> None:
        self.hub = Hub(connections, settings)
        self._requests = Requests(connections, settings)
        self._conversations = Conversations(connections, settings)
        self._heartbeat_s = settings.heartbeat_s
        self._coalesce_s = settings.coalesce_ms / 1000
        self._readers: set[Reader | ConversationReader] = set()
        self._fanouts: dict[tuple[Watched, str], FanOut] = {}
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
        for (_, wire), fanout in list(self._fanouts.items()):
            fanout.drain(_farewell if wire == "native" else None)
        for reader in list(self._readers):
            reader.stop()

    async def follow(
        self, record: Record, *, wire: str, after: Cursor | None, snapshot: bool = False
    ) -> Response:
        """A response that replays a log after a cursor and then follows it to its end.

        204 when the request is over and the cursor is at its end. A cursor that cannot be continued
        gets `rewind` and a full replay. Raises Unavailable.
        """
        watched = await self.hub.acquire(record.request_id)
        tape = watched.tape
        rendering = tape.rendering(wire, _WIRES[wire])
        position = 0 if after is None else tape.position_after(after)
        if tape.is_over and after is not None and position == len(tape.values):
            self.hub.release(watched)
            return Response(status_code=204)
        first = b""
        if position is None:
            first, position = rendering.wire.aside("rewind", {"reason": "cursor_not_found"}), 0
        if snapshot and position == 0 and isinstance(rendering.wire, NativeWire):
            first_folded, position = _folded(tape, rendering.wire)
            first += first_folded
        watched.tenant = record.tenant
        if record.waiting is not None:
            watched.news["waiting"] = record.waiting
        reading = Reading(watched, rendering, position, first)
        return LogResponse(
            self.hub,
            reading,
            fanout=lambda: self._fanout(watched, rendering, wire),
            frames=lambda: self._read(reading, wire),
        )

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
        return StreamResponse(self._frames(reader, COMMENT, "native"), AsyncExitStack())

    def _fanout(self, watched: Watched, rendering: Rendering, wire: str) -> FanOut:
        key = (watched, wire)
        if key not in self._fanouts:
            self._fanouts[key] = FanOut(
                self.hub,
                watched,
                rendering,
                interval_s=self._coalesce_s,
                has_comments=wire == "native",
                on_empty=lambda: self._forget(key),
            )
        return self._fanouts[key]

    def _forget(self, key: tuple[Watched, str]) -> None:
        del self._fanouts[key]

    def _read(self, reading: Reading, wire: str) -> AsyncIterator[Frame]:
        reader = Reader(
            reading.watched,
            reading.rendering,
            reading.position,
            heartbeat_s=self._heartbeat_s if wire == "native" else None,
        )
        return self._frames(reader, reading.first, wire)

    async def _frames(
        self, reader: Reader | ConversationReader, first: bytes, wire: str
    ) -> AsyncIterator[Frame]:
        self._readers.add(reader)
        try:
            if first:
                yield first
            async for frame in reader.frames():
                yield frame
            if reader.was_stopped:
                yield _farewell() if wire == "native" else CUT
        finally:
            self._readers.discard(reader)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(self._heartbeat_s)
            for fanout in list(self._fanouts.values()):
                fanout.tick()

    async def _tell_positions(self) -> None:
        while True:
            for watched in self.hub.queued()[:_POSITIONS_AT_ONCE]:
                request_id = watched.tape.request_id
                try:
                    position = await self._requests.position(request_id, watched.tenant)
                except BrokerError:
                    break
                news = {"position": position}
                if position is not None and news != watched.news.get("position"):
                    watched.tell_all("position", news)
            await asyncio.sleep(_POSITIONS_EVERY_S)


def _folded(tape: Tape, wire: NativeWire) -> tuple[bytes, int]:
    """A snapshot, and the position after it. A terminal is not folded: it follows as an event."""
    entries = tape.entries()
    if tape.is_over:
        entries = entries[:-1]
    if not entries:
        return b"", 0
    return wire.snapshot(entries[-1].cursor, fold(entries).snapshot()), len(entries)


def _farewell() -> bytes:
    return retry_line(random.randrange(100, _RETURN_WITHIN_MS))
