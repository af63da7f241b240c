"""Pure: parses the bytes of a native stream, split at any byte, into events."""

from typing import Any, NamedTuple

import msgspec


class StreamEvent(NamedTuple):
    """One server-sent event. `cursor` is None for a notice, which is not part of the log."""

    kind: str
    data: dict[str, Any]
    cursor: str | None = None


class StreamMalformed(ValueError):
    """The bytes are not a native event stream."""


class EventDecoder:
    """Returns each event when its final blank line has arrived. Use one decoder per connection.

    An incomplete event at the end of a connection is dropped, so a cursor always belongs to a
    complete event. Lines end in LF or CRLF.
    """

    def __init__(self) -> None:
        self.retry_s: float | None = None
        self._partial = b""
        self._fields: dict[str, str] = {}

    def feed(self, segment: bytes) -> list[StreamEvent]:
        """The events that this segment completes. Raises StreamMalformed.

        Also updates `retry_s`, the seconds that the server asks clients to wait before they
        reconnect.
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


def _event(fields: dict[str, str]) -> StreamEvent:
    try:
        data = msgspec.json.decode(fields.get("data", "{}"), type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise StreamMalformed from error
    return StreamEvent(fields.get("event", "message"), data, fields.get("id") or None)
