"""Wires: output protocols. Each is pure: log entries in, frames out, the same at every replay.

A wire is made once for a log and fed its entries in order, from the first. It answers each entry
with a frame, which is empty where the protocol has nothing to show for it, or with CUT where the
protocol cannot tell what happened: the stream is then broken off, so that it never looks whole.
"""

from typing import Any, Final, Protocol

from broker.codec import Entry


class Cut:
    """The type of CUT."""


CUT: Final = Cut()
Frame = bytes | Cut


class Wire(Protocol):
    """One output protocol, reading one log."""

    def frame(self, entry: Entry) -> Frame:
        """The bytes for the next entry."""
        ...

    def aside(self, kind: str, data: dict[str, Any]) -> bytes:
        """The bytes for what is no entry of the log: position, waiting, gone, rewind, snapshot."""
        ...
