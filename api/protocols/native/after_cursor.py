"""Where a native stream starts: after a cursor, or with a rewind or a snapshot."""

from dataclasses import dataclass, field

from tickertape.api.fanout.catching_up import TapeFold
from tickertape.api.fanout.rendering import Rendering
from tickertape.api.fanout.streams import Start
from tickertape.api.fanout.tape import Tape
from tickertape.api.protocols.native.wire import NativeWire
from tickertape.broker.codec import Cursor


@dataclass(frozen=True)
class AfterCursor:
    """Locates the entry after a cursor, or the first entry without one.

    If the cursor is not in the log, the client gets `rewind` and a full replay. If the cursor is
    the last entry of an ended log, there is nothing to send. `snapshot` folds the entries of a full
    replay, without the terminal, into one event; `folded` may have folded a part of them already.
    `greeting` comes before all of them.
    """

    cursor: Cursor | None
    snapshot: bool = False
    greeting: bytes = b""
    folded: TapeFold = field(default_factory=TapeFold)

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
            first += self._snapshot(tape)
            position = self.folded.count
        return Start(position, first)

    def _snapshot(self, tape: Tape) -> bytes:
        """The snapshot of a tape. The terminal follows as an event."""
        folded = self.folded
        folded.finish(tape)
        if not folded.count:
            return b""
        return NativeWire().snapshot(folded.last, folded.answer.snapshot())
