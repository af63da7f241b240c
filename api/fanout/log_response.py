"""The response that is one log: handed over to an audience, or plain ASGI on other servers."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Protocol

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from tickertape.api.fanout.http_chunk import chunk
from tickertape.api.fanout.live_connection import LiveConnection
from tickertape.api.fanout.permit import permit_of
from tickertape.api.fanout.reader import reader_of
from tickertape.api.fanout.rendering import Rendering
from tickertape.api.fanout.stream_response import EVENT_STREAM, OnLeft, StreamResponse
from tickertape.api.fanout.uvicorn_handover import hand_over_from
from tickertape.api.fanout.watched_log import WatchedLog
from tickertape.api.fanout.wire import Dialect, Frame
from tickertape.api.request_log import log_stream
from tickertape.api.request_trace import both, trace_reader


@dataclass(frozen=True)
class Reading:
    """What one response sends: `first` at once, then the frames from `position` on.

    The position was looked up in `epoch`. If the log is replaced while the response head is on its
    way, the epoch changes and the position is void. The tape of `watched` is held until `Readers`
    releases it.
    """

    watched: WatchedLog
    dialect: Dialect
    rendering: Rendering
    position: int
    epoch: int
    first: bytes
    headers: Mapping[str, str]


class Readers(Protocol):
    """Who serves a reading; streams.py implements it."""

    def join(self, reading: Reading, connection: LiveConnection) -> None:
        """Serve the reading to a connection that was handed over."""
        ...

    def frames(self, reading: Reading) -> AsyncIterator[Frame]:
        """Serve the reading as frames for plain ASGI."""
        ...

    def release(self, reading: Reading) -> None:
        """Release the tape that was held for the response."""
        ...


class LogResponse(Response):
    """Sends a reading, then follows its log; releases the tape when the response is over.

    `on_left` is called when the client leaves before the end, or stalls.
    """

    def __init__(
        self, readers: Readers, reading: Reading, *, on_left: OnLeft | None = None
    ) -> None:
        self.status_code = 200
        self.background = None
        self._readers = readers
        self._reading = reading
        self._on_left = on_left
        request_id = reading.watched.tape.request_id
        self._fields = {
            **EVENT_STREAM,
            "X-Request-Id": request_id,
            **reading.dialect.headers,
            **reading.headers,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response head, then hand the connection over, or send the frames."""
        readers, reading = self._readers, self._reading
        hand_over, reader = hand_over_from(scope), reader_of(scope)
        if reader is not None:
            past = reading.rendering.frames.bytes_from(reading.position)
            reader.replayed(len(reading.first) + past)
        about = (reading.watched.tape.request_id, reading.dialect.wire, reading.position)
        closed = both(log_stream(*about), trace_reader(*about))
        # A connection that was handed over only writes, so nothing would call `on_left`.
        if hand_over is None or self._on_left is not None:
            resources = AsyncExitStack()
            resources.callback(readers.release, reading)
            if closed is not None:
                resources.callback(closed)
            stream = StreamResponse(
                readers.frames(reading),
                resources,
                self._fields,
                on_left=self._on_left,
                takes_events=bool(reading.dialect.comment),
            )
            await stream(scope, receive, send)
            return
        try:
            self.init_headers({**self._fields, "Connection": "close"})
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            connection = hand_over()
            if connection is not None:
                connection.on_lost = closed
                connection.write_own(chunk(reading.first))
                readers.join(reading, connection)
                if reader is not None:
                    reader.took(connection)
                if (permit := permit_of(scope)) is not None:
                    permit.hold(connection, takes_events=bool(reading.dialect.comment))
        finally:
            readers.release(reading)
