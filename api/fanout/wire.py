"""Wires: output protocols. Each is pure: log entries in, frames out, the same at every replay.

A wire is made for one log and receives its entries in order, from the first. It returns a frame for
each entry; the frame is empty where the protocol has nothing to show. Where the protocol cannot
express what happened, the wire returns a `Last`: an error event if the protocol has errors, CUT if
it has none, so that the answer never looks complete.
"""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol

from tickertape.broker.codec import Entry
from tickertape.runtime.json_types import JsonObject


class Last(NamedTuple):
    """The last bytes of a stream whose log goes on. Unless `whole`, the stream is broken off."""

    data: bytes
    whole: bool


CUT: Final = Last(b"", whole=False)
SSE_COMMENT: Final = b": hb\n\n"
"""A comment of an event stream: clients ignore it, and proxies see that the connection lives."""
Frame = bytes | Last


class Wire(Protocol):
    """One output protocol, reading one log."""

    def frame(self, entry: Entry) -> Frame:
        """The bytes for the next entry."""
        ...

    def notice(self, kind: str, data: JsonObject) -> bytes:
        """The bytes for a notice, which is not an entry: position, waiting, gone, rewind, snapshot.

        A wire without bytes for `gone` or `rewind` breaks the stream off there.
        """
        ...


@dataclass(frozen=True)
class Dialect:
    """A wire with its options, as one log is to be read on it.

    Two dialects are equal if their names are: frames are rendered once for each name and log, so
    `name` holds every option that changes a byte. The other fields follow from the name.
    `comment` keeps an idle connection open; it is empty where the protocol has no room for one.
    `farewell` makes the last bytes before a shutdown; without it, the stream is broken off.
    """

    name: Hashable
    make: Callable[[], Wire] = field(compare=False)
    comment: bytes = field(default=SSE_COMMENT, compare=False)
    farewell: Callable[[], bytes] | None = field(default=None, compare=False)
    headers: Mapping[str, str] = field(default_factory=dict, compare=False)

    @property
    def wire(self) -> str:
        """The name without the options, which stand behind it."""
        return str(self.name[0] if isinstance(self.name, tuple) else self.name)
