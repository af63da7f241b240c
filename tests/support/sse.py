"""Reads event streams as a strict client: faults that browsers ignore fail the test."""

import contextlib
import json
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp

TERMINAL_EVENTS = frozenset({"completed", "failed", "cancelled"})
_CLEARING_EVENTS = frozenset({"started", "reset", "rewind"})


@dataclass(frozen=True)
class Event:
    """One frame. `cursor` is its `id:` line, None if it had none; `data` is its JSON."""

    cursor: str | None
    kind: str
    data: Any


class SseParser:
    """Bytes in, events out, in pieces of any size. Heartbeats are counted and not returned.

    Raises AssertionError for what the native stream never sends: another field, a frame without
    data, data that is not one line of JSON, a carriage return, an end inside a frame.
    """

    def __init__(self) -> None:
        self.heartbeat_count = 0
        self.retry_ms: int | None = None
        self._unread = b""

    def feed(self, data: bytes) -> list[Event]:
        """The events that `data` completes."""
        *frames, self._unread = (self._unread + data).split(b"\n\n")
        parsed = [self._parse(frame) for frame in frames]
        return [event for event in parsed if event is not None]

    def close(self) -> None:
        """Call at the end of the body."""
        assert not self._unread, f"the stream ended inside a frame: {self._unread!r}"

    def _parse(self, frame: bytes) -> Event | None:
        fields: dict[str, str] = {}
        for line in frame.split(b"\n"):
            if line.startswith(b":"):
                self.heartbeat_count += 1
                continue
            name, colon, value = line.decode().partition(": ")
            assert colon, f"not a field: {line!r}"
            assert name in {"id", "event", "data", "retry"}, f"unknown field: {line!r}"
            assert name not in fields, f"repeated field: {line!r}"
            assert "\r" not in value, f"carriage return: {line!r}"
            fields[name] = value
        if "retry" in fields:
            self.retry_ms = int(fields.pop("retry"))
        if fields.get("event") == "heartbeat":
            assert set(fields) == {"event", "data"}, f"a heartbeat with an id: {frame!r}"
            self.heartbeat_count += 1
            return None
        if not fields:
            return None
        assert "data" in fields, f"a frame without data: {frame!r}"
        return Event(fields.get("id"), fields.get("event", "message"), json.loads(fields["data"]))


class EventStream:
    """An open response: `status`, `headers`, and its events as they arrive.

    The counts of watchers and the titles are left out unless `shows_watchers`, because they come at
    any time.
    """

    def __init__(self, response: aiohttp.ClientResponse, *, shows_watchers: bool = False) -> None:
        self._shows_watchers = shows_watchers
        self.status = response.status
        self.headers = response.headers
        self.parser = SseParser()
        self._response = response

    async def __aiter__(self) -> AsyncGenerator[Event]:
        async for data in self._response.content.iter_any():
            for event in self.parser.feed(data):
                if self._shows_watchers or event.kind not in {"watchers", "title"}:
                    yield event
        self.parser.close()


@contextlib.asynccontextmanager
async def open_stream(
    url: str,
    headers: Mapping[str, str] | None = None,
    *,
    body: object = None,
    shows_watchers: bool = False,
) -> AsyncIterator[EventStream]:
    """Open `url` and follow it for the length of the block; leaving it closes the connection.

    A `body` is sent with POST.
    """
    unlimited = aiohttp.ClientTimeout(total=None)
    async with (
        aiohttp.ClientSession(timeout=unlimited) as session,
        session.request(
            "GET" if body is None else "POST", url, headers=headers, json=body
        ) as response,
    ):
        yield EventStream(response, shows_watchers=shows_watchers)


async def follow(
    url: str,
    headers: Mapping[str, str] | None = None,
    *,
    body: object = None,
    until_terminal: bool = True,
) -> AsyncGenerator[Event]:
    """The events of `url` as they arrive, to the terminal one or to the end of the body.

    Raises AssertionError if the answer is not a 200 event stream. A loop that leaves before the end
    must close it: `async with aclosing(follow(url)) as events`.
    """
    async with open_stream(url, headers, body=body) as stream:
        kind = stream.headers.get("content-type", "")
        assert stream.status == 200, f"{url} answered {stream.status}"
        assert kind.startswith("text/event-stream"), f"{url} answered {kind}"
        async with contextlib.aclosing(aiter(stream)) as events:
            async for event in events:
                yield event
                if until_terminal and event.kind in TERMINAL_EVENTS:
                    return


async def collect(url: str, headers: Mapping[str, str] | None = None) -> list[Event]:
    """All events of `url` to the terminal one."""
    return [event async for event in follow(url, headers)]


def text_of(events: Iterable[Event]) -> str:
    """The text that a client shows after these events, by the documented rule for clients."""
    text = ""
    for event in events:
        if event.kind in _CLEARING_EVENTS:
            text = ""
        elif event.kind == "snapshot":
            text = event.data["text"]
        elif event.kind == "delta":
            text += event.data["text"]
        elif event.kind in TERMINAL_EVENTS:
            break
    return text
