"""A log, its fan-out, and connections whose sockets a test fills and frees."""

import asyncio
from typing import Any, cast

from tickertape.api.fanout.audience import Audience, AudienceKey
from tickertape.api.fanout.fanout_counts import FanoutCounts
from tickertape.api.fanout.http_chunk import chunk
from tickertape.api.fanout.hub import Hub
from tickertape.api.fanout.live_connection import LiveConnection
from tickertape.api.fanout.watched_log import WatchedLog
from tickertape.api.fanout.wire import SSE_COMMENT, Dialect
from tickertape.api.protocols.native.wire import NativeWire
from tickertape.broker.codec import Cursor, encode_data, encode_text
from tickertape.broker.kinds import Terminal


class FakeHub:
    """Counts the holders of a tape."""

    live_connections = 0

    def __init__(self) -> None:
        self.counts = FanoutCounts()

    def hold(self, watched: WatchedLog) -> None:
        watched.holders += 1

    def release(self, watched: WatchedLog) -> None:
        watched.holders -= 1


class FakeTransport:
    """A socket that a test fills and frees."""

    def __init__(self) -> None:
        self.sent = b""
        self.writes = 0
        self.joined_at = 0
        # The bytes that the socket has not accepted.
        self.unsent_bytes = 0
        self.is_closed = self.is_aborted = self.fills_up = False
        self.is_reading = True
        self.protocol: LiveConnection | None = None

    def pause_reading(self) -> None:
        self.is_reading = False

    def write(self, data: bytes) -> None:
        assert not self.is_closed, "written after the end"
        self.sent += data
        self.writes += 1
        self.unsent_bytes += len(data) if self.fills_up else 0
        if self.fills_up and self.protocol is not None:
            self.protocol.pause_writing()

    def get_write_buffer_size(self) -> int:
        return self.unsent_bytes

    def close(self) -> None:
        self.is_closed = True
        if not self.unsent_bytes:
            asyncio.get_running_loop().call_soon(self._lost)

    def abort(self) -> None:
        self.is_aborted = self.is_closed = True
        asyncio.get_running_loop().call_soon(self._lost)

    def free(self) -> None:
        """Accept all buffered bytes, so that the socket has room again."""
        self.fills_up = False
        self.unsent_bytes = 0
        assert self.protocol is not None
        self.protocol.resume_writing()
        if self.is_closed:
            self.close()

    def _lost(self) -> None:
        if self.protocol is not None:
            self.protocol.connection_lost(None)

    @property
    def body(self) -> bytes:
        """The body so far, without its chunks' framing."""
        rest, body = self.sent, b""
        while rest:
            size, _, rest = rest.partition(b"\r\n")
            length = int(size, 16)
            body, rest = body + rest[:length], rest[length + 2 :]
        return body

    @property
    def ended_whole(self) -> bool:
        return self.is_closed and self.sent.endswith(b"0\r\n\r\n")


class Stage:
    """A log, its fan-out, and connections that join it."""

    def __init__(self, wire: Any = NativeWire, interval_s: float = 0.0) -> None:
        self.watched = WatchedLog("r0_" + "a" * 26, b"channel")
        self.watched.tape.offer(Cursor(1, 0), encode_data("queued", {}))
        opener = {"prev": "1-0", "n": 1}
        self.watched.tape.offer(Cursor(2, 0), encode_data("started", opener))
        self.rendering = self.watched.tape.rendering("w", wire)
        self.hub = FakeHub()
        self.farewells = iter([b"retry: 5\n\n", b"retry: 7\n\n"])
        self.open_audiences: dict[AudienceKey, Audience] = {}
        self.audience = Audience(
            cast("Hub", self.hub),
            self.watched,
            self.rendering,
            Dialect(
                "w",
                wire,
                comment=SSE_COMMENT if wire is NativeWire else b"",
                farewell=lambda: next(self.farewells),
            ),
            self.open_audiences,
            interval_s=interval_s,
        )
        self.transports: list[FakeTransport] = []

    @property
    def is_empty(self) -> bool:
        return not self.open_audiences

    def join(
        self,
        position: int = 0,
        *,
        fills_up: bool = False,
        first: bytes = b"",
        epoch: int | None = None,
    ) -> FakeTransport:
        transport = FakeTransport()
        transport.joined_at = position
        transport.fills_up = fills_up
        connection = LiveConnection(cast("asyncio.Transport", transport), set())
        transport.protocol = connection
        self.transports.append(transport)
        if first:
            connection.write(chunk(first))
        self.audience.join(connection, position, self.watched.epoch if epoch is None else epoch)
        return transport

    def type(self, *texts: str) -> None:
        for text in texts:
            last = self.watched.tape.last
            self.watched.tape.offer(Cursor(2, last.seq + 1), encode_text("delta", text))
        self.watched.wake_all()

    def finish(self, kind: Terminal = "completed") -> None:
        last = self.watched.tape.last
        self.watched.tape.offer(Cursor(2, last.seq + 1), encode_data(kind, {}))
        self.watched.wake_all()

    @property
    def whole(self) -> bytes:
        return b"".join(self.rendering.frames)
