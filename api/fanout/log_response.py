"""The response that is one log: handed over to the fan-out, or plain ASGI on other servers."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from tickertape.api.fanout.frames import chunk
from tickertape.api.fanout.hub import Hub
from tickertape.api.fanout.live_connection import LiveConnection
from tickertape.api.fanout.stream_response import EVENT_STREAM, OnLeft, StreamResponse
from tickertape.api.fanout.tape import Rendering
from tickertape.api.fanout.uvicorn_handover import hand_over_from
from tickertape.api.fanout.watched_log import WatchedLog
from tickertape.api.fanout.wire import Frame


@dataclass(frozen=True)
class Reading:
    """What a reader is to get: `first` at once, then the frames from `position` on.

    The position is of an `epoch`: while the head is on its way the log may turn out to be another
    one, and it would mean something else.
    """

    watched: WatchedLog
    rendering: Rendering
    position: int
    epoch: int
    first: bytes


class LogResponse(Response):
    """Replays a log from a position on and follows it; in the end releases the tape."""

    def __init__(
        self,
        hub: Hub,
        reading: Reading,
        *,
        join: Callable[[LiveConnection], None],
        frames: Callable[[], AsyncIterator[Frame]],
        headers: Mapping[str, str],
        on_left: OnLeft | None = None,
    ) -> None:
        self.status_code = 200
        self.background = None
        self._hub = hub
        self._reading = reading
        self._join = join
        self._frames = frames
        self._on_left = on_left
        request_id = reading.watched.tape.request_id
        self._fields = {**EVENT_STREAM, "X-Request-Id": request_id, **headers}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Write the head, then give the connection away, or write the frames."""
        hand_over = hand_over_from(scope)
        # A connection that was given away only reads: nobody would notice what its going means.
        if hand_over is None or self._on_left is not None:
            resources = AsyncExitStack()
            resources.callback(self._hub.release, self._reading.watched)
            stream = StreamResponse(self._frames(), resources, self._fields, on_left=self._on_left)
            await stream(scope, receive, send)
            return
        try:
            self.init_headers({**self._fields, "Connection": "close"})
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            connection = hand_over()
            if connection is not None:
                connection.write(chunk(self._reading.first))
                self._join(connection)
        finally:
            self._hub.release(self._reading.watched)
