"""One log as this process knows it, without a gap from its first entry; does no I/O."""

from collections.abc import Callable, Iterator
from enum import Enum
from itertools import islice
from typing import NamedTuple

from tickertape.api.fanout.frames import OBJECT_BYTES
from tickertape.api.fanout.rendering import Rendering
from tickertape.api.fanout.wire import Wire
from tickertape.broker.codec import START, Cursor, Entry, decode, is_output
from tickertape.broker.errors import EntryMalformed
from tickertape.broker.kinds import OPENERS, TERMINALS


class Verdict(Enum):
    """What a tape did with an entry that was offered to it."""

    TAKEN = "taken"
    OLD = "old"
    GAP = "gap"


# Bound once, because looking a member up in its enum takes a tenth of the time of `offer`.
_TAKEN, _OLD, _GAP = Verdict


class _Measured(NamedTuple):
    """How many values were looked at, and their bytes."""

    values: int
    size: int


class Tape:
    """A contiguous prefix of a log.

    Ids are contiguous within an attempt, and every opener names the entry before it. So the
    id alone shows whether an entry is the next one, or whether a push was lost, doubled or late.
    """

    def __init__(self, request_id: str) -> None:
        self.request_id = request_id
        self._renderings: dict[object, Rendering] = {}
        # As of the last look at the size.
        self._measured = _Measured(0, 0)
        self.clear()

    @property
    def size_bytes(self) -> int:
        """Approximate memory use, dominated by the overhead per object.

        Takes time per entry that has come since the last call. Renderings that are made later are
        not included.
        """
        frames = sum(rendering.frames.size_bytes for rendering in self._renderings.values())
        added = sum(map(len, islice(self.values, self._measured.values, None)))
        self._measured = _Measured(len(self.values), self._measured.size + added)
        return frames + self._measured.size + OBJECT_BYTES * self._measured.values

    @property
    def runs(self) -> int:
        """How many attempts at the upstream the entries are of. The entry `queued` is of none."""
        return max(0, len(self._attempts) - 1)

    def clear(self) -> None:
        """Forget all entries."""
        self.last = START
        self.values: list[bytes] = []
        self._measured = _Measured(0, 0)
        self.is_over = False
        self.is_queued = True
        # For each attempt: its number, the seq of its first entry, and that entry's position.
        self._attempts: list[tuple[int, int, int]] = []
        for rendering in self._renderings.values():
            rendering.clear()

    def offer(self, cursor: Cursor, value: bytes, *, is_first: bool = False) -> Verdict:
        """Add an entry if it is the next one; raises EntryMalformed.

        `is_first`: the log itself begins with this entry, because its head was trimmed. A log ends
        with its first terminal, so entries behind one, which only a writer that ignores the fence
        can add, are never taken.
        """
        last = self.last
        if cursor <= last or self.is_over:
            # After a fail-over that lost entries, a cancel may write its terminal under the id of
            # a lost one.
            is_other = cursor == last and not self.is_over and value != self.values[-1]
            return _GAP if is_other else _OLD
        # Decoded before the tape changes, so that an unreadable entry leaves no trace.
        entry = decode(cursor, value)
        if cursor.attempt != last.attempt:
            if entry.kind == "unknown" and last != START and "prev" not in entry.data:
                # An opener of any version names the entry before it, so this entry is foreign.
                raise EntryMalformed
            if not is_first and not self._follows(entry):
                return _GAP
            self._attempts.append((cursor.attempt, cursor.seq, len(self.values)))
        elif cursor.seq != last.seq + 1:
            return _GAP
        self.last = cursor
        self.values.append(value)
        if entry.kind != "unknown":
            self.is_queued = entry.kind == "queued"
        self.is_over = entry.kind in TERMINALS
        position = len(self.values) - 1
        for rendering in self._renderings.values():
            if rendering.seen == position:
                rendering.add(entry)
        return _TAKEN

    def rendering(self, name: object, make: Callable[[], Wire]) -> Rendering:
        """The frames on a wire, rendered on first use and kept up to date from then on.

        A long log takes long: `rendered` in catching_up.py gives other logs their turns.
        """
        rendering = self.begin_rendering(name, make)
        self.render(rendering, len(self.values))
        return rendering

    def has_rendering(self, name: object) -> bool:
        """Whether there are frames on this wire."""
        return name in self._renderings

    def begin_rendering(self, name: object, make: Callable[[], Wire]) -> Rendering:
        """The frames on a wire, as many of them as were rendered by now."""
        rendering = self._renderings.get(name)
        if rendering is None:
            rendering = self._renderings[name] = Rendering(make)
        return rendering

    def render(self, rendering: Rendering, most: int) -> bool:
        """Render at most so many entries more; whether all are rendered.

        From then on, the rendering is kept up to date.
        """
        if rendering.seen == len(self.values):
            return True
        for entry in islice(self.entries_from(rendering.seen), most):
            rendering.add(entry)
        return rendering.seen == len(self.values)

    def entries(self) -> list[Entry]:
        """All entries, decoded."""
        return list(self.entries_from(0))

    def entries_from(self, begin: int) -> Iterator[Entry]:
        """The entries from a position on, each decoded when its turn comes."""
        for attempt, seq, first, end in self._spans():
            for position in range(max(first, begin), end):
                yield decode(Cursor(attempt, seq + position - first), self.values[position])

    def has_output(self) -> bool:
        """Whether an entry is output of a source, whose value is not decoded."""
        return any(map(is_output, self.values))

    def position_after(self, cursor: Cursor) -> int | None:
        """The position of the entry after a cursor; None unless that very entry is on the tape."""
        for attempt, seq, first, end in self._spans():
            position = first + cursor.seq - seq
            if attempt == cursor.attempt and first <= position < end:
                return position + 1
        return None

    def _spans(self) -> Iterator[tuple[int, int, int, int]]:
        """For each attempt: its number, its first seq, its first position and the one behind it."""
        for number, (attempt, seq, first) in enumerate(self._attempts, start=1):
            is_last = number == len(self._attempts)
            yield attempt, seq, first, len(self.values) if is_last else self._attempts[number][2]

    def _follows(self, entry: Entry) -> bool:
        if entry.cursor.seq != 0:
            return False
        if self.last == START:
            return entry.kind == "queued"
        is_opener = entry.kind in OPENERS or entry.kind == "unknown"
        return is_opener and entry.data.get("prev") == str(self.last)
