"""Sends a stream of frames over plain ASGI, which every server understands."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, aclosing
from functools import partial

import structlog
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from tickertape.api.fanout.permit import permit_of
from tickertape.api.fanout.steps import in_steps_of
from tickertape.api.fanout.wire import Frame

OnLeft = Callable[[], Awaitable[None]]

log = structlog.get_logger("api")

EVENT_STREAM = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-cache, no-transform",
    "X-Accel-Buffering": "no",
}
# A client that takes nothing for this long is disconnected; it resumes by cursor.
_STALL_LIMIT_S = 30.0


class StreamResponse(Response):
    """Sends frames until they end, CUT comes, or the client leaves or stalls.

    `resources` are closed at the end, however it comes. A closed connection does not stop the
    generation, unless `on_left` does, which is called when the client leaves or stalls.
    """

    def __init__(
        self,
        frames: AsyncIterator[Frame],
        resources: AsyncExitStack,
        headers: dict[str, str] | None = None,
        *,
        on_left: OnLeft | None = None,
        stall_limit_s: float = _STALL_LIMIT_S,
        takes_events: bool = False,
    ) -> None:
        self.status_code = 200
        self.background = None
        self._frames = frames
        self._resources = resources
        self._on_left = on_left
        self._stall_limit_s = stall_limit_s
        self._takes_events = takes_events
        self._events: list[bytes] = []
        self._writing: asyncio.Task[None] | None = None
        self.init_headers({**EVENT_STREAM, **(headers or {})})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the stream; returns without the last chunk if it was cut."""
        async with self._resources:
            write = partial(self._write, _unstalled(send, self._stall_limit_s))
            writing = asyncio.create_task(in_steps_of(scope, write), name="stream: write")
            self._writing = writing
            if (permit := permit_of(scope)) is not None:
                permit.hold(self, takes_events=self._takes_events)
            leaving = asyncio.create_task(until_gone(receive), name="stream: client")
            try:
                await asyncio.wait({writing, leaving}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in (writing, leaving):
                    task.cancel()
                ended, _ = await asyncio.gather(writing, leaving, return_exceptions=True)
            if isinstance(ended, Exception) and not isinstance(ended, TimeoutError):
                # The client sees only a broken connection, so this log line is the one trace.
                log.error("stream broke", error=type(ended).__name__)
            if ended is not None and self._on_left is not None:
                await self._on_left()

    def break_off(self) -> None:
        """End at once, because the client may not read any more."""
        if self._writing is not None:
            self._writing.cancel()

    def send_event(self, event: bytes) -> None:
        """Send an event with the next frame, which a heartbeat is at the latest."""
        self._events = [event]

    async def _write(self, send: Send) -> None:
        async with aclosing(self._frames) as frames:  # type: ignore[type-var]  # an async generator
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            async for frame in frames:
                if not isinstance(frame, bytes):
                    return
                body = b"".join((*self._events, frame))
                self._events.clear()
                await send({"type": "http.response.body", "body": body, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def _unstalled(send: Send, limit_s: float) -> Send:
    # Every message has the limit, the response head and the end included.
    async def send_in_time(message: Message) -> None:
        async with asyncio.timeout(limit_s):
            await send(message)

    return send_in_time


async def until_gone(receive: Receive) -> None:
    """Return when the client has disconnected; the request body must have been read."""
    while (await receive())["type"] != "http.disconnect":
        pass
