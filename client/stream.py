"""Reads the events of a request or a conversation, and reconnects as often as needed."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Self

from tickertape.client.errors import ApiUnreachable, StreamLost
from tickertape.client.events import HEARTBEAT, Event
from tickertape.client.outage import Outage, Timing
from tickertape.client.transport import Transport

Notify = Callable[[str], None]


class AsyncEvents:
    """Yields each event once and in order, over as many connections as it takes.

    If a connection breaks, or is silent for `Timing.silence_s`, the next one continues after the
    last complete event, which `cursor` names. The stream of a request ends after its last event;
    the stream of a conversation does not end. Raises CallRefused, and StreamLost after the
    patience of `Timing`. Breaking off or cancelling the iteration does not disturb the request;
    `aclose`, or leaving an `async with` block, closes the connection at once.
    """

    def __init__(
        self,
        transport: Transport,
        path: str,
        cursor: str | None,
        *,
        last_event: Callable[[str | None], Awaitable[Event]] | None,
        notify: Notify,
        timing: Timing,
    ) -> None:
        self.cursor = cursor
        self._transport = transport
        self._path = path
        self._last_event = last_event
        self._notify = notify
        self._outage = Outage(timing, timing.stream_patience_s, was_reached=transport.has_connected)
        self._iterator = self._events()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        return await anext(self._iterator)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """End the iteration and close the connection."""
        await self._iterator.aclose()

    async def _events(self) -> AsyncGenerator[Event]:
        while True:
            retry_s = 0.0
            try:
                async with self._transport.stream(self._path, self.cursor) as connection:
                    if connection is None:
                        if self._last_event is not None:
                            yield await self._last_event(self.cursor)
                        return
                    async with contextlib.aclosing(connection.segments()) as segments:
                        async for events in segments:
                            self._note_success()
                            for event in events:
                                if event.kind == HEARTBEAT:
                                    continue
                                self._advance(event)
                                yield event
                                if event.is_end and self._last_event is not None:
                                    return
                    retry_s = connection.retry_s
                error = ApiUnreachable("the connection was closed", retry_s)
            except ApiUnreachable as raised:
                error = raised
            await self._wait(error)

    def _advance(self, event: Event) -> None:
        # A rewind replays another log, so the old cursor must not be sent if the replay breaks off.
        if event.cursor is not None or event.kind == "rewind":
            self.cursor = event.cursor

    async def _wait(self, error: ApiUnreachable) -> None:
        now_s = time.monotonic()
        wait_s = self._outage.wait_s(error, now_s)
        if wait_s is None:
            raise StreamLost(f"{self._transport.display_url}: {error}", self.cursor) from error
        if self._outage.is_news(now_s + wait_s):
            self._notify(f"{self._transport.display_url}: {error}; reconnecting")
        await asyncio.sleep(wait_s)

    def _note_success(self) -> None:
        if self._outage.end():
            self._notify("reconnected")
