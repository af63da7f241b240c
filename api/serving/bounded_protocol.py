"""uvicorn's protocol within bounds: what a connection may send, how slowly, and what it may leave.

uvicorn and httptools bound neither a head nor trailers, and wait for both without end. Nothing here
runs once a connection was handed over.
"""

import asyncio
from enum import Enum
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from tickertape.api.edge import bound_problems as problems
from tickertape.api.edge.problems import Problem
from tickertape.api.fanout.live_connection import LiveConnection, Members
from tickertape.api.serving.body_pace import BodyPace
from tickertape.api.serving.doorway import Doorway, Place
from tickertape.api.serving.ordered_protocol import OrderedProtocol
from tickertape.api.serving.plain_head import without_upgrade
from tickertape.api.serving.raw_answers import raw_answer
from tickertape.api.serving.unread_bytes import has_unread_bytes


class _Phase(Enum):
    IDLE = 0
    HEAD = 1
    BODY = 2


class BoundedProtocol(OrderedProtocol):
    """One connection until it is closed or handed over."""

    _phase = _Phase.IDLE
    _place: Place | None = None
    _refusal: Problem | None = None
    _ignored_bytes = 0
    _head_by_s: float | None = None
    _linger_by_s: float | None = None
    # Of the head or the trailers: their number, what the parser found, and what it was given.
    _fields = _field_bytes = _fed_bytes = 0
    # Of the piece that is parsed.
    _is_heard = False
    _body_bytes = 0
    _pace: BodyPace | None = None
    _unsent_bytes = 0
    _unread_since_s: float | None = None
    # Whether the server stops, so that a call on its way is the last one.
    _is_stopping = False

    def __init__(self, *, doorway: Doorway, **uvicorn: Any) -> None:
        self._doorway = doorway
        self._bounds = doorway.bounds
        super().__init__(**uvicorn)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        """Wait for a head, unless the address has too many connections."""
        super().connection_made(transport)
        self._doorway.enter(self)
        place = self._doorway.place_of(self.client[0], self.connections) if self.client else None
        if place is not None and not place.join():
            self._is_deaf = True
            self._doorway.note("too_many_connections")
            self._write_raw(problems.too_many_connections(self._bounds.address_connections))
            transport.close()
            return
        self._place = place
        self._await_head(self._bounds.head_s)

    def connection_lost(self, exc: Exception | None) -> None:
        """Leave the doorway and the place."""
        super().connection_lost(exc)
        self._doorway.leave(self)
        if self._place is not None:
            self._place.part()

    def data_received(self, data: bytes) -> None:
        """Parse the bytes; a head is due soon after its first byte."""
        if self._head_by_s is None and self._phase is _Phase.IDLE and not self._has_to_wait():
            self._await_head(self._bounds.head_s)
        super().data_received(data)

    def _hold(self, data: bytes) -> None:
        if len(self._held) + len(data) > self._bounds.pipelined_bytes:
            self._refuse(problems.too_many_pipelined(self._bounds.pipelined))
        else:
            self._held += data

    def _ignore(self, size: int) -> None:
        self._ignored_bytes += size
        if self._ignored_bytes > self._bounds.ignored_bytes:
            if self._linger_by_s is not None:
                self.transport.abort()
            else:
                self.flow.pause_reading()

    def _feed_piece(self, piece: memoryview) -> None:
        before, self._is_heard, self._body_bytes = self._phase, False, 0
        try:
            self.parser.feed_data(piece if before is _Phase.BODY else without_upgrade(piece))
        except httptools.HttpParserUpgrade:
            self._doorway.note("upgrade_ignored")
        except httptools.HttpParserError:
            self._refuse(self._refusal or problems.malformed())
            return
        if self._phase is _Phase.BODY:
            self._check_body(len(piece), is_first=before is not _Phase.BODY)
        elif self._phase is _Phase.HEAD and before is _Phase.HEAD:
            self._fed_bytes += len(piece)
            if self._fed_bytes > self._bounds.header_bytes:
                self._refuse(self._head_too_large())

    def on_message_begin(self) -> None:
        """Begin to count the head of a call."""
        if len(self.pipeline) >= self._bounds.pipelined:
            self._refusal = problems.too_many_pipelined(self._bounds.pipelined)
            raise ValueError
        super().on_message_begin()
        self._phase = _Phase.HEAD
        self._fields = self._field_bytes = self._fed_bytes = 0
        self._await_head(self._bounds.head_s)

    def on_url(self, url: bytes) -> None:
        """Take a part of the path and query."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header. Trailers are dropped, because the call was checked without them."""
        self._fields += 1
        self._count(len(name) + len(value) + 4)
        if self._phase is _Phase.HEAD:
            super().on_header(name, value)

    def _count(self, size: int) -> None:
        self._field_bytes += size
        bounds = self._bounds
        if self._field_bytes > bounds.header_bytes or self._fields > bounds.headers:
            self._refusal = self._head_too_large()
            raise ValueError

    def _head_too_large(self) -> Problem:
        bounds = self._bounds
        if self._phase is _Phase.BODY:
            return problems.trailers_too_large(bounds.header_bytes, bounds.headers)
        if self._fields or len(self.url) < self._bounds.header_bytes / 2:
            return problems.headers_too_large(bounds.header_bytes, bounds.headers)
        return problems.target_too_long(bounds.header_bytes)

    def on_headers_complete(self) -> None:
        """Begin a call; its body follows."""
        super().on_headers_complete()
        self._phase, self._is_reading_body, self._pace = _Phase.BODY, True, None
        self._fields = self._field_bytes = 0
        self._have_head()
        if self._is_stopping:
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        self._is_heard = True
        self._body_bytes += len(body)
        super().on_body(body)

    def on_chunk_header(self) -> None:
        """Notice that what arrives is not one endless trailer."""
        self._is_heard = True

    def on_message_complete(self) -> None:
        """End the body of a call."""
        self._phase, self._is_reading_body, self._pace = _Phase.IDLE, False, None
        self._doorway.end_body(self)
        if self.cycle.response_complete:
            # uvicorn waits for the next call from the end of the answer on, which came before.
            self._await_head(self.timeout_keep_alive)
        super().on_message_complete()

    def _check_body(self, size: int, *, is_first: bool) -> None:
        if self._pace is None:
            self._pace = BodyPace(self._bounds, self.loop.time())
        if is_first:
            size = self._body_bytes
        self._pace.add(size, self._body_bytes, is_heard=self._is_heard or is_first)
        if self.cycle.response_complete:
            self._doorway.end_body(self)
            if self._pace.wire_bytes > self._bounds.ignored_bytes:
                self.transport.close()
        elif (fault := self._pace.fault()) is not None:
            self._refuse(fault)
        elif not self._doorway.hold_body(self, size):
            self._refuse(problems.no_room_for_body())

    def _refuse(self, refusal: Problem) -> None:
        """Read no more. The call that is at fault is refused; those before it are answered."""
        self._doorway.note(refusal.code)
        self._doorway.end_body(self)
        self._have_head()
        self._is_deaf, self._held = True, b""
        running = self._running
        if running is None or running.response_complete:
            if self._phase is _Phase.BODY:
                self.transport.close()  # This call has its answer.
                return
            self._write_raw(refusal)
            self._linger_by_s = self.loop.time() + self._bounds.linger_s
            # A close with unread bytes would reset the connection, and the answer might be lost.
            self.transport.write_eof()
            return
        last = self.pipeline[0][0] if self.pipeline else running
        last.keep_alive = False
        if self._phase is _Phase.BODY and last is self.cycle:
            last.scope[problems.REFUSED] = refusal  # type: ignore[literal-required]  # an extension
            last.message_event.set()
            self._linger_by_s = self.loop.time() + self._bounds.linger_s

    def _write_raw(self, refusal: Problem) -> None:
        defaults = self.server_state.default_headers
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in defaults}
        self.transport.write(raw_answer(refusal, {**headers, **self._doorway.headers}))

    def on_response_complete(self) -> None:
        """Wait for the rest of the next head from now on."""
        if self._phase is _Phase.BODY:
            self._doorway.end_body(self)
        super().on_response_complete()
        if self._phase is _Phase.HEAD and not self.pipeline and not self.transport.is_closing():
            self._unset_keepalive_if_required()
            self._await_head(self._bounds.head_s)

    def _members(self) -> Members:
        return super()._members() if self._place is None else self._place

    def _hand_over(self, cycle: RequestResponseCycle) -> LiveConnection | None:
        connection = super()._hand_over(cycle)
        if connection is not None:
            self._doorway.leave(self)
            connection.report_to(self._doorway)
        return connection

    def shutdown(self) -> None:
        """Close with the answer to the call that is under way or on its way, or else now.

        Clients repeat no post whose connection closes without an answer, so such a close is an
        error to them.
        """
        self._is_stopping = True
        is_new = self._running is None
        is_coming = self._phase is _Phase.HEAD or has_unread_bytes(self.transport)
        if self._is_between_calls() and (is_new or is_coming):
            self.loop.call_later(self._bounds.last_call_s, self._end_without_call)
        else:
            super().shutdown()

    def _is_between_calls(self) -> bool:
        return self._running is None or self._running.response_complete

    def _end_without_call(self) -> None:
        if self._phase is not _Phase.BODY and self._is_between_calls():
            self.transport.close()

    def _await_head(self, limit_s: float) -> None:
        self._head_by_s = self.loop.time() + limit_s
        self._doorway.begin_head(self)

    def _have_head(self) -> None:
        self._head_by_s = None
        self._doorway.end_head(self)

    def make_room(self) -> bool:
        """Close a connection that waited longest for its head; False if bytes of it arrived."""
        if has_unread_bytes(self.transport):
            return False
        if not self._has_to_wait():
            self._doorway.note("heads_closed")
            self.transport.close()
        return True

    def cut(self) -> None:
        """Break off."""
        self.transport.abort()

    def tick(self, now_s: float) -> int:
        """Notice which times are over; returns the bytes that the client has not taken."""
        unsent = self.transport.get_write_buffer_size()
        if self._is_unread(unsent, now_s):
            self._doorway.note("answer_unread")
            self.cut()
        elif self._linger_by_s is not None:
            if now_s >= self._linger_by_s and not self._is_answering():
                self.cut()
        elif self._head_by_s is not None:
            if now_s >= self._head_by_s and not self._has_to_wait():
                self._end_slow_head()
        elif self._pace is not None and not self._is_deaf:
            self._check_pace(self._pace, now_s)
        return unsent

    def _is_unread(self, unsent: int, now_s: float) -> bool:
        if not unsent or unsent < self._unsent_bytes:
            self._unread_since_s = None
        elif self._unread_since_s is None:
            self._unread_since_s = now_s
        self._unsent_bytes = unsent
        since_s = self._unread_since_s
        return since_s is not None and now_s - since_s >= self._bounds.unread_s

    def _is_answering(self) -> bool:
        running = self._running
        return running is not None and running.response_started and not running.response_complete

    def _end_slow_head(self) -> None:
        if self._phase is _Phase.HEAD:
            self._refuse(problems.head_too_slow(self._bounds.head_s))
        else:
            self.transport.close()

    def _check_pace(self, pace: BodyPace, now_s: float) -> None:
        if self.flow.read_paused or self._has_to_wait() or self._is_answering():
            pace.wait(now_s)
        elif pace.is_late(now_s):
            if self.cycle.response_complete:
                self.transport.close()
            else:
                self._refuse(problems.body_too_slow())
