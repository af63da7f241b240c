"""The response that is one log: handed over to the fan-out, or plain ASGI on other servers."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from api.fanout import FanOut, chunk
from api.handover import hand_over_from
from api.hub import Hub, Watched
from api.stream_response import EVENT_STREAM, StreamResponse
from api.tape import Rendering
from api.wires import Frame


@dataclass(frozen=True)
class Reading:
    """What a reader is to get: `first` at once, then the frames from `position` on."""

    watched: Watched
    rendering: Rendering
    position: int
    first: bytes


class LogResponse(Response):
    """Replays a log from a position on and follows it; in the end releases the tape."""

    def __init__(
        self,
        hub: Hub,
        reading: Reading,
        *,
        fanout: Callable[[], FanOut],
        frames: Callable[[], AsyncIterator[Frame]],
    ) -> None:
        self.status_code = 200
        self.background = None
        self._hub = hub
        self._reading = reading
        self._fanout = fanout
        self._frames = frames
        request_id = reading.watched.tape.request_id
        self._fields = {**EVENT_STREAM, "X-Request-Id": request_id}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Write the head, then give the connection away, or write the frames."""
        hand_over = hand_over_from(scope)
        if hand_over is None:
            resources = AsyncExitStack()
            resources.callback(self._hub.release, self._reading.watched)
            await StreamResponse(self._frames(), resources, self._fields)(scope, receive, send)
            return
        try:
            self.init_headers({**self._fields, "Connection": "close"})
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            connection = hand_over()
            if connection is not None:
                connection.write(chunk(self._reading.first))
                self._fanout().join(connection, self._reading.position)
        finally:
            self._hub.release(self._reading.watched)
