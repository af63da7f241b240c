"""Follows one request to its end over as many connections as it takes. Knows no terminal."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Callable

from tickertape.cli.chat.client import Client, Unreachable
from tickertape.cli.chat.events import Event
from tickertape.runtime.backoff import Backoff

_ENDS = frozenset({"completed", "failed", "cancelled", "gone"})
PATIENCE_S = 300.0
_LONGEST_WAIT_S = 10.0
# Shorter interruptions, of a restart for example, are nobody's business.
_TELL_AFTER_S = 2.0


class Lost(Exception):
    """The server was away for too long. `cursor` is where to read on, None for the beginning."""

    def __init__(self, reason: str, cursor: str | None) -> None:
        super().__init__(reason)
        self.cursor = cursor


class Follower:
    """Each event of a log exactly once and in order, from `cursor` on, up to the terminal one.

    When a connection breaks, or is silent for too long, the next one reads on after the last event
    that was seen whole. `tell` is called with what a user should know about an outage.
    """

    def __init__(
        self,
        client: Client,
        request_id: str,
        cursor: str | None = None,
        *,
        tell: Callable[[str], None],
        patience_s: float = PATIENCE_S,
    ) -> None:
        self.cursor = cursor
        self._client = client
        self._request_id = request_id
        self._tell = tell
        self._patience_s = patience_s
        self._backoff = Backoff()
        self._away_since_s: float | None = None
        self._has_told = False
        self._is_over = False

    async def events(self) -> AsyncGenerator[Event]:
        """Close the iterator when leaving early. Raises Refused, and Lost after `patience_s`."""
        while True:
            asked_s = 0.0
            try:
                async with self._client.stream(self._request_id, self.cursor) as stream:
                    if stream is None:
                        yield await self._last_event()
                        return
                    async with contextlib.aclosing(stream.segments()) as segments:
                        async for events in segments:
                            self._note_return()
                            for event in events:
                                self._advance(event)
                                yield event
                                if self._is_over:
                                    return
                    asked_s = stream.retry_s
                reason = "the connection was closed"
            except Unreachable as error:
                reason, asked_s = str(error), error.wait_s
            await self._wait(reason, asked_s)

    def _advance(self, event: Event) -> None:
        # A cursor that cannot be continued must not be sent again, should the replay break off.
        if event.kind == "rewind":
            self.cursor = None
        elif event.cursor is not None:
            self.cursor = event.cursor
        self._is_over = event.kind in _ENDS

    async def _last_event(self) -> Event:
        """The end of a request of whose log nothing is left to read."""
        record = await self._client.get(self._request_id)
        data = record.get("error") if record.get("status") == "failed" else record
        return Event(str(record.get("status")), data or {}, self.cursor)

    async def _wait(self, reason: str, asked_s: float) -> None:
        now_s = time.monotonic()
        self._away_since_s = self._away_since_s or now_s
        away_s = now_s - self._away_since_s
        if away_s > self._patience_s:
            raise Lost(reason, self.cursor)
        if away_s > _TELL_AFTER_S and not self._has_told:
            self._has_told = True
            self._tell(f"{self._client.place}: {reason}; coming back as soon as it answers")
        await asyncio.sleep(min(self._backoff.next_s(asked_s), _LONGEST_WAIT_S))

    def _note_return(self) -> None:
        self._away_since_s = None
        self._backoff.reset()
        if self._has_told:
            self._has_told = False
            self._tell("connected again")
