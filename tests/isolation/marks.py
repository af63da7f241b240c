"""Pure: the marks that say whose text something is, and the check of what a reader receives.

Each prompt has the mark of its request, and the upstream repeats the mark in each delta.
"""

import re
from dataclasses import dataclass
from itertools import count

_ANY = re.compile(rb"\[\[[a-z0-9.-]*(?:\]\])?")
_OPENS = b"[["
_ENDS = (b"event: completed\n", b"event: cancelled\n", b"event: failed\n")
_SERIAL = count(1)


@dataclass(frozen=True)
class Wire:
    """How a wire sends a delta, and where its bytes may be divided."""

    name: str
    delta: bytes
    divides: bytes = b"\n\n"


NATIVE = Wire("native", b"event: delta\n")
TEXT = Wire("text", b"[[", b" ")
CHAT = Wire("chat", b'"delta":{"content":')
RESPONSES = Wire("responses", b"event: response.output_text.delta\n")
AI_SDK = Wire("ai-sdk", b'"type":"text-delta"')


def prefix_of(tenant: str, user: str | None) -> str:
    """How all marks of a user begin; None is the tenant itself."""
    return f"[[{tenant}.{user or '-'}."


def new_mark(tenant: str, user: str | None) -> str:
    """The mark of one request, which no other request has."""
    return f"{prefix_of(tenant, user)}{next(_SERIAL)}]]"


def foreign_marks(data: bytes, own: bytes) -> set[bytes]:
    """All marks in the data that do not begin with `own`; a mark may be cut, as in a title."""
    if data.count(_OPENS) == data.count(own):
        return set()
    found = {match[0] for match in _ANY.finditer(data)}
    return {mark for mark in found if not (mark.startswith(own) or own.startswith(mark))}


class Checked:
    """What one reader received on one connection after the other.

    `own` is how its marks begin: that of one request, or that of a user. `deltas` counts the
    received ones, and `foreign` has all that the reader should not have received.
    """

    def __init__(self, own: str, wire: Wire) -> None:
        self.own = own.encode()
        self.wire = wire
        self.deltas = 0
        self.bytes = 0
        self.foreign: set[bytes] = set()
        self.last_id = ""
        self.is_over = False
        self._rest = b""

    def feed(self, data: bytes) -> None:
        """Check the next bytes of a connection, up to the last whole event."""
        self.bytes += len(data)
        data = self._rest + data
        end = data.rfind(self.wire.divides)
        end = end + len(self.wire.divides) if end >= 0 else 0
        self._check(data[:end])
        self._rest = data[end:]

    def end(self) -> None:
        """Check what is left of a connection that was cut or has ended."""
        self.foreign |= foreign_marks(self._rest, self.own)
        self._rest = b""

    def _check(self, data: bytes) -> None:
        own, deltas = data.count(self.own), data.count(self.wire.delta)
        self.foreign |= foreign_marks(data, self.own)
        if deltas > own:
            self.foreign.add(b"a delta without a mark")
        self.deltas += deltas
        if self.wire is NATIVE and (at := data.rfind(b"id: ")) >= 0:
            self.last_id = data[at + 4 : data.find(b"\n", at)].decode()
            self.is_over = self.is_over or any(end in data for end in _ENDS)
