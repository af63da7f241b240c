"""Pure: parses the bytes of a native stream, split at any byte, into events."""

from typing import Any, NamedTuple

import msgspec

ENDS = frozenset({"completed", "failed", "cancelled", "gone"})
"""The kinds of the last event of a request. `gone` means that the log expired."""

HEARTBEAT = "heartbeat"
"""The event by which a server shows that a silent connection is alive. Clients do not yield it."""


class Event(NamedTuple):
    """One server-sent event.

    `cursor` names the entry of the log, and a stream can be continued after it. `cursor` is None
    for a notice, which is not part of the log.
    """

    kind: str
    data: dict[str, Any]
    cursor: str | None = None

    @property
    def text(self) -> str:
        """The text of a delta, a reasoning, a refusal or a snapshot; empty for other kinds."""
        return str(self.data.get("text") or "")

    @property
    def request_id(self) -> str | None:
        """The request of the event in the stream of a conversation; None in other streams."""
        value = self.data.get("request_id")
        return None if value is None else str(value)

    @property
    def is_end(self) -> bool:
        """Whether the request of the event has ended with this event."""
        return self.kind in ENDS


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

    def feed(self, segment: bytes) -> list[Event]:
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


def _event(fields: dict[str, str]) -> Event:
    try:
        data = msgspec.json.decode(fields.get("data", "{}"), type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise StreamMalformed from error
    return Event(fields.get("event", "message"), data, fields.get("id") or None)
