"""Pure: what the readers of one answer received, in memory that many readers share."""

from array import array
from collections.abc import Iterator

from tickertape.broker.kinds import OUTPUT
from tickertape.cli.bench.paced import sent_s
from tickertape.client.events import Event
from tickertape.client.fold import DAMAGED, Ended, Folded


class Tape:
    """The output of one answer, as its readers report it: the text behind each cursor."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}
        self.texts: list[str] = []
        self.readings: list[Reading] = []

    def read(self) -> "Reading":
        """A new reader of the answer."""
        reading = Reading(self)
        self.readings.append(reading)
        return reading


class Reading:
    """What one reader received since the answer last started over. Times are in seconds.

    `order` has the numbers of the entries on the tape, and `arrived_s` when each of them came.
    """

    def __init__(self, tape: Tape) -> None:
        self.order = array("I")
        self.arrived_s = array("d")
        self.restarts = 0
        self.contradictions = 0
        self.end: Ended | None = None
        self._folded = Folded()
        self._tape = tape

    @property
    def text(self) -> str:
        """The text of the answer, once it has ended."""
        return self._folded.text

    @property
    def is_whole(self) -> bool:
        """Whether the answer ended as completed."""
        return self.end is not None and self.end.status == "completed"

    @property
    def is_damaged(self) -> bool:
        """Whether the text differs from the checksum of the server."""
        return self.end is not None and self.end.code == DAMAGED

    def receive(self, event: Event, now_s: float) -> None:
        """Note an event that arrived now."""
        if event.kind in OUTPUT and event.cursor is not None:
            self._note(event.cursor, event.text, now_s)
        elif event.kind in {"started", "reset", "rewind"} and self.order:
            self.restarts += 1
            del self.order[:], self.arrived_s[:]
        self._folded.apply(event)
        self.end = self._folded.end

    def _note(self, cursor: str, text: str, now_s: float) -> None:
        tape = self._tape
        number = tape.numbers.setdefault(cursor, len(tape.texts))
        if number == len(tape.texts):
            tape.texts.append(text)
        elif tape.texts[number] != text:
            self.contradictions += 1
        self.order.append(number)
        self.arrived_s.append(now_s)

    def delays_s(self) -> Iterator[float]:
        """From the paced upstream to this reader, for tokens that were sent while it read."""
        for number, arrived_s in zip(self.order, self.arrived_s, strict=True):
            for sent in sent_s(self._tape.texts[number]):
                if sent >= self.arrived_s[0]:
                    yield arrived_s - sent
