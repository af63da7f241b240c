"""The raw text wire: the UTF-8 of the deltas and nothing else.

Sent bytes cannot be taken back, and the wire has no errors. Therefore the stream is cut if the
answer fails, or if it starts over after output.
"""

from tickertape.api.fanout.wire import CUT, Dialect, Frame
from tickertape.broker.codec import Entry
from tickertape.runtime.json_types import JsonObject


class TextWire:
    """The text of one log."""

    def __init__(self) -> None:
        self._has_sent = False

    def frame(self, entry: Entry) -> Frame:
        """The text of a `delta`; empty for any other entry; CUT where the text is void."""
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
        """Empty, because this wire cannot express notices."""
        del kind, data
        return b""


TEXT = Dialect("text", TextWire, comment=b"")
