"""uvicorn's protocol with one call at a time: what is sent behind a call waits for its answer.

HTTP/1.1 allows clients to send calls without waiting. uvicorn parses all of them and reads no more,
so that it does not notice a client that leaves. It answers malformed bytes behind a stream in the
middle of the stream. The parser cannot be paused, so it is fed in pieces. What follows the piece
with a call waits as bytes, and the connection is read on.
"""

import abc
import contextvars

from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from tickertape.api.fanout.live_connection import LiveConnection
from tickertape.api.fanout.uvicorn_handover import HandoverProtocol

# Small beside the memory of a connection, large beside the cost of a call of the parser.
_PIECE_BYTES = 16_384


class OrderedProtocol(HandoverProtocol, abc.ABC):
    """One connection until it is closed or handed over. `BoundedProtocol` judges what is fed."""

    _running: RequestResponseCycle | None = None
    # What was sent behind the call that is running.
    _held = b""
    _is_reading_body = False
    # Whether what arrives is thrown away.
    _is_deaf = False

    @abc.abstractmethod
    def _feed_piece(self, piece: memoryview) -> None:
        """Give a piece to the parser."""

    @abc.abstractmethod
    def _hold(self, data: bytes) -> None:
        """Keep bytes that have to wait, within a limit."""

    @abc.abstractmethod
    def _ignore(self, size: int) -> None:
        """Notice how much was thrown away."""

    def data_received(self, data: bytes) -> None:
        """Parse the bytes, as far as they do not have to wait for an answer."""
        self._unset_keepalive_if_required()
        view = memoryview(data)
        for start in range(0, len(data), _PIECE_BYTES):
            if self.transport.is_closing():
                return
            if self._is_deaf:
                self._ignore(len(data) - start)
                return
            if self._has_to_wait():
                self._hold(bytes(view[start:]))
                break
            self._feed_piece(view[start : start + _PIECE_BYTES])
        if self.pipeline:
            # uvicorn paused, and would not notice that the client leaves.
            self.flow.resume_reading()

    def _has_to_wait(self) -> bool:
        """Whether a call before the one that arrives is not answered yet."""
        running = self._running
        if running is None or running.response_complete:
            return False
        return not self._is_reading_body or self.cycle is not running

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._running = cycle
        # A call that waited is started by the call before it, whose context is not for others.
        contextvars.Context().run(super()._start_asgi_task, cycle, app)

    def on_response_complete(self) -> None:
        """Go on with what waited for the end of this answer."""
        super().on_response_complete()
        if self._held and not self.transport.is_closing() and not self._has_to_wait():
            held, self._held = self._held, b""
            self.data_received(held)

    def connection_lost(self, exc: Exception | None) -> None:
        """Notify the call that is running. uvicorn notifies the last one, which may be another."""
        super().connection_lost(exc)
        self.pipeline.clear()
        running = self._running
        if running is not None and not running.response_complete:
            running.disconnected = True
            running.message_event.set()

    def _hand_over(self, cycle: RequestResponseCycle) -> LiveConnection | None:
        connection = super()._hand_over(cycle)
        if connection is not None:
            self._held, self._running = b"", None
        return connection
