"""Pure: the bytes of a native stream, cut anywhere, to its events."""

from typing import Any, NamedTuple

import msgspec


class Event(NamedTuple):
    """One frame. `cursor` is None for a frame without an id: news that is not part of the log."""

    kind: str
    data: dict[str, Any]
    cursor: str | None = None


class StreamMalformed(ValueError):
    """The bytes are no native event stream."""


class EventDecoder:
    """Hands out each event once its blank line has come. One per connection.

    An event that the end of the connection cuts off is dropped, so that a cursor never points to
    something of which only a part was seen. Lines end in LF or CRLF.
    """

    def __init__(self) -> None:
        self.retry_s: float | None = None
        self._partial = b""
        self._fields: dict[str, str] = {}

    def feed(self, segment: bytes) -> list[Event]:
        """The events that this segment completes; raises StreamMalformed.

        Afterwards `retry_s` is how long the server last asked to wait before a reconnection.
        """
        *lines, self._partial = (self._partial + segment).split(b"\n")
        events = []
        for raw in lines:
            if line := raw.removesuffix(b"\r"):
                self._read_field(line)
            elif self._fields:
                events.append(_event(self._fields))
                self._fields = {}
        return events

    def _read_field(self, line: bytes) -> None:
        try:
            name, _, value = line.decode().partition(":")
        except UnicodeDecodeError as error:
            raise StreamMalformed from error
        value = value.removeprefix(" ")
        if name == "data" and "data" in self._fields:
            self._fields["data"] += "\n" + value
        elif name in {"id", "event", "data"}:
            self._fields[name] = value
        elif name == "retry" and value.isascii() and value.isdigit():
            self.retry_s = int(value) / 1000


def _event(fields: dict[str, str]) -> Event:
    try:
        data = msgspec.json.decode(fields.get("data", "{}"), type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise StreamMalformed from error
    return Event(fields.get("event", "message"), data, fields.get("id") or None)
