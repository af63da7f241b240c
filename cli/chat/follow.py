"""Follows one request to its end, and reconnects as often as needed. Knows no terminal."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass

from tickertape.cli.chat.client import ApiUnreachable, Client
from tickertape.cli.chat.events import StreamEvent
from tickertape.runtime.backoff import Backoff

_ENDS = frozenset({"completed", "failed", "cancelled", "gone"})


@dataclass(frozen=True)
class FollowTiming:
    """The limits of a follower during an outage. Tests pass shorter ones."""

    patience_s: float = 300.0
    longest_wait_s: float = 10.0
    # A shorter interruption, for example a restart of the API, is not reported to the user.
    notify_after_s: float = 2.0


_TIMING = FollowTiming()


class Lost(Exception):
    """The server did not answer for too long. `cursor` is the last event read, None if none was."""

    def __init__(self, reason: str, cursor: str | None) -> None:
        super().__init__(reason)
        self.cursor = cursor


class Follower:
    """Yields each event of a log exactly once and in order, from `cursor` to the terminal.

    If a connection breaks, or is silent for SILENCE_S, the next one continues after the last
    complete event. `notify` receives messages for the user about outages.
    """

    def __init__(
        self,
        client: Client,
        request_id: str,
        cursor: str | None = None,
        *,
        notify: Callable[[str], None],
        timing: FollowTiming = _TIMING,
    ) -> None:
        self.cursor = cursor
        self._client = client
        self._request_id = request_id
        self._notify = notify
        self._timing = timing
        self._backoff = Backoff()
        self._offline_since_s: float | None = None
        self._has_notified = False
        self._has_ended = False

    async def events(self) -> AsyncGenerator[StreamEvent]:
        """Close the iterator if you stop early. Raises CallRefused, and Lost after the patience."""
        while True:
            retry_s = 0.0
            try:
                async with self._client.stream(self._request_id, self.cursor) as stream:
                    if stream is None:
                        yield await self._last_event()
                        return
                    async with contextlib.aclosing(stream.segments()) as segments:
                        async for events in segments:
                            self._note_reconnect()
                            for event in events:
                                self._advance(event)
                                yield event
                                if self._has_ended:
                                    return
                    retry_s = stream.retry_s
                reason = "the connection was closed"
            except ApiUnreachable as error:
                reason, retry_s = str(error), error.wait_s
            await self._wait(reason, retry_s)

    def _advance(self, event: StreamEvent) -> None:
        # A rewind replays another log, so the old cursor must not be sent if the replay breaks off.
        if event.kind == "rewind":
            self.cursor = None
        elif event.cursor is not None:
            self.cursor = event.cursor
        self._has_ended = event.kind in _ENDS

    async def _last_event(self) -> StreamEvent:
        """The end of a request whose log has no more events, from the request's record."""
        record = await self._client.get(self._request_id)
        data = record.get("error") if record.get("status") == "failed" else record
        return StreamEvent(str(record.get("status")), data or {}, self.cursor)

    async def _wait(self, reason: str, retry_s: float) -> None:
        now_s = time.monotonic()
        self._offline_since_s = self._offline_since_s or now_s
        offline_s = now_s - self._offline_since_s
        if offline_s > self._timing.patience_s:
            raise Lost(reason, self.cursor)
        if offline_s > self._timing.notify_after_s and not self._has_notified:
            self._has_notified = True
            self._notify(f"{self._client.display_url}: {reason}; reconnecting")
        await asyncio.sleep(min(self._backoff.next_s(retry_s), self._timing.longest_wait_s))

    def _note_reconnect(self) -> None:
        self._offline_since_s = None
        self._backoff.reset()
        if self._has_notified:
            self._has_notified = False
            self._notify("reconnected")
