"""The frames of one log in one dialect; does no I/O."""

from collections.abc import Callable

from tickertape.api.failure_log import log_failure
from tickertape.api.fanout.frames import Frames
from tickertape.api.fanout.wire import CUT, Last, Wire
from tickertape.broker.codec import Entry
from tickertape.broker.kinds import TERMINALS


class Rendering:
    """The frames of a tape on one wire: `frames[i]` shows entry i, up to where the wire ends.

    A wire may end before its log does. Then `is_over` is true, and `is_cut` is true if the stream
    must break off there, so that no client takes what it has for the whole answer. `seen` counts
    the entries that were added.
    """

    def __init__(self, make: Callable[[], Wire]) -> None:
        self._make = make
        self.frames = Frames()
        self.clear()

    def clear(self) -> None:
        """Start from an empty log, after the log was replaced by another one."""
        self.wire = self._make()
        self.frames.clear()
        self.seen = 0
        self.is_over = self.is_cut = False

    def add(self, entry: Entry) -> None:
        """Render the next entry. One of a later version has an empty frame, on every wire."""
        self.seen += 1
        if self.is_over:
            return
        if entry.kind == "unknown":
            self.frames.append(b"")
            return
        try:
            frame = self.wire.frame(entry)
        except Exception as error:  # noqa: BLE001  # a fault in one wire must not stop all logs
            log_failure(error, "entry not rendered", kind=entry.kind)
            frame = CUT
        if isinstance(frame, bytes):
            self.frames.append(frame)
            if entry.kind in TERMINALS:
                self.frames.close_block()
        else:
            self._end(frame)

    def _end(self, last: Last) -> None:
        self.is_over, self.is_cut = True, not last.whole
        if last.data:
            self.frames.append(last.data)
        self.frames.close_block()
