"""Writes a stream of frames to one connection: plain ASGI, which every server understands."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, aclosing

import structlog
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from tickertape.api.fanout.wire import Frame

OnLeft = Callable[[], Awaitable[None]]

log = structlog.get_logger("api")

EVENT_STREAM = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-cache, no-transform",
    "X-Accel-Buffering": "no",
}
# A connection that takes nothing for this long is dropped; its client resumes by cursor.
STALL_LIMIT_S = 30.0


class StreamResponse(Response):
    """Sends frames as they come, until they end, CUT comes, or the client is gone or stalls.

    `resources` are let go at the end, whatever ends it. Closing the connection does no more than
    that: a generation goes on without readers, unless there is an `on_left` that ends it.
    """

    def __init__(
        self,
        frames: AsyncIterator[Frame],
        resources: AsyncExitStack,
        headers: dict[str, str] | None = None,
        *,
        on_left: OnLeft | None = None,
    ) -> None:
        self.status_code = 200
        self.background = None
        self._frames = frames
        self._resources = resources
        self._on_left = on_left
        self.init_headers({**EVENT_STREAM, **(headers or {})})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Write the stream; returns without the last chunk when it was cut."""
        del scope
        async with self._resources:
            writing = asyncio.create_task(self._write(_unstalled(send)), name="stream: write")
            leaving = asyncio.create_task(until_gone(receive), name="stream: client")
            try:
                await asyncio.wait({writing, leaving}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in (writing, leaving):
                    task.cancel()
                ended, _ = await asyncio.gather(writing, leaving, return_exceptions=True)
            if isinstance(ended, Exception) and not isinstance(ended, TimeoutError):
                # Nothing else would tell: to the client it is one more broken connection.
                log.error("stream broke", error=type(ended).__name__)
            if ended is not None and self._on_left is not None:
                await self._on_left()

    async def _write(self, send: Send) -> None:
        async with aclosing(self._frames) as frames:  # type: ignore[type-var]  # an async generator
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            async for frame in frames:
                if not isinstance(frame, bytes):
                    return
                await send({"type": "http.response.body", "body": frame, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def _unstalled(send: Send) -> Send:
    # The head and the end wait for the client as any frame does: each write has the limit.
    async def send_in_time(message: Message) -> None:
        async with asyncio.timeout(STALL_LIMIT_S):
            await send(message)

    return send_in_time


async def until_gone(receive: Receive) -> None:
    """Return when the client is gone; its body must have been read."""
    while (await receive())["type"] != "http.disconnect":
        pass
