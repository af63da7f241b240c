"""Takes an accepted connection away from uvicorn and gives it to the fan-out.

Why: a reader that waits as an ASGI application costs a task, a scope, a request, a parser and the
middleware's frames, 23 to 29 KiB, and each event wakes the task and awaits `send`, four times the
price of the write itself. uvicorn hands connections over in the same way for WebSockets.

It leans on uvicorn's httptools protocol (`cycle.response_complete`, `flow`, `connections`), which
no version promises: the lock pins the version, each connection is asked, and
every response can also be written as plain ASGI, which is what other servers get.
"""

import asyncio
import functools
import socket
from collections.abc import Callable
from typing import cast

from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from tickertape.api.fanout.leaving import LEAVING
from tickertape.api.fanout.live_connection import LiveConnection, Members
from tickertape.api.fanout.unframed import UnframedCycle

_KEY = "tickertape.handover"
_HTTP_WITH_CHUNKS = "1.1"

HandOver = Callable[[], LiveConnection | None]


def _ignore() -> None:
    """No call waits for the client to leave."""


class HandoverProtocol(HttpToolsProtocol):
    """uvicorn's protocol; two more entries of its scope give the transport up, and tell of its end.

    `on_lost` is called once the connection is lost.
    """

    on_lost: Callable[[], None] = staticmethod(_ignore)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Send small writes at once, as uvloop does by itself.

        asyncio does so only for sockets whose `proto` says TCP, which those of `create_server` do
        not: without this, and without uvloop, each event would wait 40 ms for an acknowledgement.
        """
        super().connection_made(transport)
        if not isinstance(self.loop, asyncio.BaseEventLoop):
            return
        connected: socket.socket = transport.get_extra_info("socket")
        if connected.family != socket.AF_UNIX:
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def on_headers_complete(self) -> None:
        """Begin a call, with an offer of the hand-over; an older client is answered without chunks.

        The offer names its cycle: `self.cycle` is that of the last request, which a client may have
        sent behind this one without waiting.
        """
        super().on_headers_complete()
        if self.cycle is not None:
            offer = functools.partial(self._hand_over, self.cycle)
            self.scope[_KEY] = offer  # type: ignore[literal-required]  # an extension
            self.scope[LEAVING] = _Leaving(self, self.cycle)  # type: ignore[literal-required]  # an extension
        if self.scope["http_version"] != _HTTP_WITH_CHUNKS and self.cycle is not None:
            # uvicorn makes its own class by name. Its task has not run yet, and holds no method.
            self.cycle.__class__ = UnframedCycle

    def connection_lost(self, exc: Exception | None) -> None:
        """Wake the call that waits for the client to leave."""
        super().connection_lost(exc)
        self.on_lost()

    def _members(self) -> Members:
        """What the connection leaves when it is lost."""
        return cast("set[LiveConnection]", self.connections)

    def _hand_over(self, cycle: RequestResponseCycle) -> LiveConnection | None:
        transport = self.transport
        if cycle.disconnected or transport.is_closing() or not cycle.chunked_encoding:
            return None
        # All that uvicorn does with a connection is to call its `shutdown`.
        connections = cast("set[LiveConnection]", self.connections)
        connection = LiveConnection(transport, self._members(), is_full=self.flow.write_paused)
        transport.set_protocol(connection)
        self.flow.resume_reading()
        self.connections.discard(self)
        connections.add(connection)
        # The application may return now: for uvicorn this response is complete.
        cycle.response_complete = True
        # The head said that the connection closes: what was sent behind this request is not read.
        self.pipeline.clear()
        # What refers to each other is let go, and so freed at once: nothing is left to collect.
        self.scope = cycle.scope = self.parser = None  # type: ignore[assignment]  # not used any more
        return connection


class _Leaving:
    """A Leaving of the connection and the cycle of a call."""

    def __init__(self, protocol: HandoverProtocol, cycle: RequestResponseCycle) -> None:
        self._protocol = protocol
        self._cycle = cycle

    @property
    def has_left(self) -> bool:
        return self._cycle.disconnected

    def listen(self, wake: Callable[[], None]) -> None:
        self._protocol.on_lost = wake
        # uvicorn may have paused at a large body, and would not notice that the client leaves.
        self._cycle.flow.resume_reading()

    async def stop(self) -> None:
        self._protocol.on_lost = _ignore


def hand_over_from(scope: Scope) -> HandOver | None:
    """The function that gives the connection up, once the response head is sent.

    None on servers that do not offer it, and for HTTP/1.0, which knows no chunks. The function
    itself returns None when the client is gone already.
    """
    offered: HandOver | None = scope.get(_KEY)
    return offered if offered is not None and scope["http_version"] == _HTTP_WITH_CHUNKS else None
