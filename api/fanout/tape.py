"""One log as this process knows it, and its frames; does no I/O.

A tape holds the log from its first entry without a hole. A subscriber is one position in the
frames of a wire; nothing is kept per subscriber but that number.
"""

from collections.abc import Callable, Iterator
from enum import Enum

from tickertape.api.failure_log import note_failure
from tickertape.api.fanout.frames import OBJECT_BYTES, Frames
from tickertape.api.fanout.wire import CUT, Last, Wire
from tickertape.broker.codec import OPENERS, START, TERMINALS, Cursor, Entry, decode


class Verdict(Enum):
    """What became of an entry that was offered to a tape."""

    TAKEN = "taken"
    OLD = "old"
    GAP = "gap"


# Bound once: to look a member up in its enum costs a tenth of all that `offer` does.
_TAKEN, _OLD, _GAP = Verdict


class Rendering:
    """The frames of a tape on one wire: `frames[i]` shows entry i, up to where the wire ends.

    A wire may end before its log does; then `is_over`, and `is_cut` if that must not look whole.
    """

    def __init__(self, make: Callable[[], Wire]) -> None:
        self._make = make
        self.frames = Frames()
        self.clear()

    def clear(self) -> None:
        """Begin again, after the log turned out to be another one."""
        self.wire = self._make()
        self.frames.clear()
        self.is_over = self.is_cut = False

    def add(self, entry: Entry) -> None:
        """Render the next entry."""
        if self.is_over:
            return
        try:
            frame = self.wire.frame(entry)
        except Exception as error:  # noqa: BLE001  # one wire's mistake must not stop all logs
            note_failure(error, "entry not rendered", kind=entry.kind)
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


class Tape:
    """A contiguous prefix of a log.

    Ids are contiguous within an attempt and every opener names the entry before it, so a tape knows
    by the id alone whether an entry is the next one: a push that was lost, doubled or late shows.
    """

    def __init__(self, request_id: str) -> None:
        self.request_id = request_id
        self._renderings: dict[object, Rendering] = {}
        self.clear()

    @property
    def size_bytes(self) -> int:
        """About what it takes of memory: entries and frames are mostly smaller than their objects.

        Asks every entry for its size; a rendering that is made later is not in an earlier answer.
        """
        frames = sum(rendering.frames.size_bytes for rendering in self._renderings.values())
        return frames + sum(map(len, self.values)) + OBJECT_BYTES * len(self.values)

    def clear(self) -> None:
        """Forget all entries."""
        self.last = START
        self.values: list[bytes] = []
        self.is_over = False
        self.is_queued = True
        # Each attempt with the seq of its first entry and where on the tape that is.
        self._attempts: list[tuple[int, int, int]] = []
        for rendering in self._renderings.values():
            rendering.clear()

    def offer(self, cursor: Cursor, value: bytes, *, is_first: bool = False) -> Verdict:
        """Take an entry if it is the next one; raises EntryMalformed.

        `is_first` says that the log itself begins with this entry: its head was trimmed. A log ends
        with its first terminal: what follows it, from a writer that heeds no fence, is never taken.
        """
        last = self.last
        if cursor <= last or self.is_over:
            return _OLD
        # Decoded before anything changes: what cannot be read must not stay on the tape.
        entry = decode(cursor, value)
        if cursor.attempt != last.attempt:
            if not is_first and not self._follows(entry):
                return _GAP
            self._attempts.append((cursor.attempt, cursor.seq, len(self.values)))
        elif cursor.seq != last.seq + 1:
            return _GAP
        self.last = cursor
        self.values.append(value)
        self.is_queued = entry.kind == "queued"
        self.is_over = entry.kind in TERMINALS
        for rendering in self._renderings.values():
            rendering.add(entry)
        return _TAKEN

    def rendering(self, name: object, make: Callable[[], Wire]) -> Rendering:
        """The frames on a wire, made on first use and kept up from then on."""
        rendering = self._renderings.get(name)
        if rendering is None:
            rendering = self._renderings[name] = Rendering(make)
            for entry in self.entries():
                rendering.add(entry)
        return rendering

    def entries(self) -> list[Entry]:
        """All entries, decoded."""
        return [
            decode(Cursor(attempt, seq + position - first), self.values[position])
            for attempt, seq, first, end in self._spans()
            for position in range(first, end)
        ]

    def position_after(self, cursor: Cursor) -> int | None:
        """The position of the entry after a cursor; None unless that very entry is on the tape."""
        for attempt, seq, first, end in self._spans():
            position = first + cursor.seq - seq
            if attempt == cursor.attempt and first <= position < end:
                return position + 1
        return None

    def _spans(self) -> Iterator[tuple[int, int, int, int]]:
        """Each attempt: its number, the seq of its first entry, and its begin and end here."""
        for number, (attempt, seq, first) in enumerate(self._attempts, start=1):
            is_last = number == len(self._attempts)
            yield attempt, seq, first, len(self.values) if is_last else self._attempts[number][2]

    def _follows(self, entry: Entry) -> bool:
        if entry.cursor.seq != 0:
            return False
        if self.last == START:
            return entry.kind == "queued"
        return entry.kind in OPENERS and entry.data.get("prev") == str(self.last)
