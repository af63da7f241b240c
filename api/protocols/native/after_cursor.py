"""Where a native stream starts: after a cursor, or with a rewind or a snapshot."""

from dataclasses import dataclass

from tickertape.api.fanout.rendering import Rendering
from tickertape.api.fanout.streams import Start
from tickertape.api.fanout.tape import Tape
from tickertape.api.protocols.native.wire import NativeWire
from tickertape.broker.codec import Cursor
from tickertape.broker.fold import fold


@dataclass(frozen=True)
class AfterCursor:
    """Locates the entry after a cursor, or the first entry without one.

    If the cursor is not in the log, the client gets `rewind` and a full replay. If the cursor is
    the last entry of an ended log, there is nothing to send. `snapshot` folds the entries of a full
    replay, without the terminal, into one event. `greeting` comes before all of them.
    """

    cursor: Cursor | None
    snapshot: bool = False
    greeting: bytes = b""

    def __call__(self, tape: Tape, rendering: Rendering, *, is_current: bool) -> Start | None:
        """Where to start; see Locate."""
        del rendering
        position = 0 if self.cursor is None else tape.position_after(self.cursor)
        if position is None and not is_current:
            return None
        if self.cursor is not None and tape.is_over and position == len(tape.values):
            return Start(is_needless=True)
        first = self.greeting
        if position is None:
            first += NativeWire().notice("rewind", {"reason": "cursor_not_found"})
            position = 0
        if self.snapshot and position == 0:
            folded, position = _fold_tape(tape)
            first += folded
        return Start(position, first)


def _fold_tape(tape: Tape) -> tuple[bytes, int]:
    """The snapshot of a tape, and the position after it. The terminal follows as an event."""
    entries = tape.entries()
    if tape.is_over:
        entries = entries[:-1]
    if not entries:
        return b"", 0
    return NativeWire().snapshot(entries[-1].cursor, fold(entries).snapshot()), len(entries)
