"""Work on all entries of a long tape, in steps between which other logs have their turns."""

import asyncio
from collections.abc import Callable
from itertools import islice

from tickertape.api.fanout.rendering import Rendering
from tickertape.api.fanout.tape import Tape
from tickertape.api.fanout.wire import Wire
from tickertape.broker.codec import START, Entry
from tickertape.broker.fold import Answer

# So many entries take about 5 ms.
STEP_ENTRIES = 500


async def rendered(tape: Tape, name: object, make: Callable[[], Wire]) -> Rendering:
    """As `Tape.rendering`, in steps. The rendering has all entries of the tape at the return."""
    rendering = tape.begin_rendering(name, make)
    while True:
        if tape.render(rendering, STEP_ENTRIES):
            return rendering
        await asyncio.sleep(0)


async def decoded(tape: Tape) -> list[Entry]:
    """All entries of a tape that is over, decoded in steps."""
    entries: list[Entry] = []
    while step := list(islice(tape.entries_from(len(entries)), STEP_ENTRIES)):
        entries += step
        await asyncio.sleep(0)
    return entries


class TapeFold:
    """The fold of a tape without its terminal, for a snapshot."""

    def __init__(self) -> None:
        self.answer = Answer()
        self.count = 0
        self.last = START

    async def prepare(self, tape: Tape) -> None:
        """Fold most of a long tape, in steps, so that `finish` has little to do."""
        while True:
            if not self._feed(tape, STEP_ENTRIES):
                return
            await asyncio.sleep(0)

    def finish(self, tape: Tape) -> None:
        """Fold the rest of the tape. Starts over if the log has been replaced by another one."""
        self._feed(tape, len(tape.values))

    def _feed(self, tape: Tape, most: int) -> bool:
        """Add at most so many entries; whether there may be more."""
        if self.count and tape.position_after(self.last) != self.count:
            self.answer, self.count = Answer(), 0
        end = min(len(tape.values) - tape.is_over, self.count + most)
        if self.count >= end:
            return False
        for entry in tape.entries_from(self.count):
            self.answer.feed(entry)
            self.last, self.count = entry.cursor, self.count + 1
            if self.count == end:
                break
        return True
