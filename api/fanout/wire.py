"""Wires: output protocols. Each is pure: log entries in, frames out, the same at every replay.

A wire is made once for a log and fed its entries in order, from the first. It answers each entry
with a frame, which is empty where the protocol has nothing to show for it, or with a Last where the
protocol cannot tell what happened: an error if it knows errors, CUT if it does not, so that the
answer never looks whole.
"""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Protocol

from tickertape.broker.codec import Entry


class Last(NamedTuple):
    """The last bytes of a stream whose log goes on. Unless `whole`, it is broken off after them."""

    data: bytes
    whole: bool


CUT: Final = Last(b"", whole=False)
Frame = bytes | Last


class Wire(Protocol):
    """One output protocol, reading one log."""

    def frame(self, entry: Entry) -> Frame:
        """The bytes for the next entry."""
        ...

    def notice(self, kind: str, data: dict[str, Any]) -> bytes:
        """The bytes for what is no entry of the log: position, waiting, gone, rewind, snapshot.

        Without any for `gone` or `rewind`, the stream is broken off there.
        """
        ...


@dataclass(frozen=True)
class Dialect:
    """A wire with its options, as one log is to be read on it.

    Frames are made once for each name, so the name tells apart all that makes them differ.
    `farewell` makes the last bytes before a shutdown; without one, a stream is broken off there.
    """

    name: Hashable
    make: Callable[[], Wire] = field(compare=False)
    has_comments: bool = field(default=True, compare=False)
    farewell: Callable[[], bytes] | None = field(default=None, compare=False)
    headers: Mapping[str, str] = field(default_factory=dict, compare=False)
