"""The raw text wire: the UTF-8 of the deltas and nothing else.

Bytes that were sent cannot be taken back, and there is no room for an error: an answer that fails,
or begins anew after some of it was sent, is cut.
"""

from tickertape.api.fanout.wire import CUT, Dialect, Frame
from tickertape.broker.codec import Entry
from tickertape.runtime.json_types import JsonObject


class TextWire:
    """The text of one log."""

    def __init__(self) -> None:
        self._has_sent = False

    def frame(self, entry: Entry) -> Frame:
        """The text an entry adds."""
        match entry.kind:
            case "delta":
                self._has_sent = self._has_sent or entry.text != ""
                return entry.text.encode()
            case "failed":
                return CUT
            case "started" | "reset" if self._has_sent:
                return CUT
            case _:
                return b""

    def notice(self, kind: str, data: JsonObject) -> bytes:
        """Nothing: there is no room for it."""
        del kind, data
        return b""


TEXT = Dialect("text", TextWire, comment=b"")
