"""Pure: what is wrong with the answers that readers received, and how long everything took."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from tickertape.cli.bench.paced import Pace, numbers
from tickertape.cli.bench.percentiles import percentile
from tickertape.cli.bench.tape import Reading, Tape

FAULTS = {
    "gap": "a reader lacks a delta that another reader has, or a token of the upstream",
    "order": "a reader has a delta twice, or in another order",
    "difference": "two readers have different texts",
    "damaged": "a text differs from the checksum of the server",
}
"""What must never be seen, and what each of them means."""

FIRST, SPACING, SKEW, DELAY = (
    "submit to first delta",
    "between two deltas",
    "first to last reader",
    "upstream to reader",
)


@dataclass
class Stream:
    """One request: when it was submitted, what its readers received, and why it failed if so."""

    submitted_s: float = 0.0
    tape: Tape = field(default_factory=Tape)
    errors: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Findings:
    """The findings of one run. `times` has milliseconds by what was measured."""

    streams: int
    readers: int
    completed: int
    events: int
    restarts: int
    faults: Counter[str]
    errors: Counter[str]
    times: dict[str, list[float]]

    @property
    def is_clean(self) -> bool:
        """Whether each reader received one and the same whole answer."""
        return not self.faults and not self.errors


def find(streams: Sequence[Stream], pace: Pace | None) -> Findings:
    """The findings of the streams; `pace` is what the paced upstream was asked for."""
    readings = [reading for stream in streams for reading in stream.tape.readings]
    times = {
        FIRST: _ms(_first_s(streams)),
        SPACING: _ms(later - one for each in readings for one, later in pairwise(each.arrived_s)),
        SKEW: _ms(skew for stream in streams for skew in _skews_s(stream.tape.readings)),
        DELAY: _ms(delay for each in readings for delay in each.delays_s()) if pace else [],
    }
    return Findings(
        streams=len(streams),
        readers=len(readings),
        completed=sum(each.is_whole for each in readings),
        events=sum(len(each.order) for each in readings),
        restarts=sum(each.restarts for each in readings),
        faults=Counter(fault for stream in streams for fault in faults_of(stream.tape, pace)),
        errors=Counter(error for stream in streams for error in stream.errors),
        times={name: values for name, values in times.items() if values},
    )


def shares(values: list[float]) -> dict[str, float]:
    """The percentiles that are shown."""
    named = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
    return {name: percentile(values, share) for name, share in named.items()}


def faults_of(tape: Tape, pace: Pace | None) -> Iterator[str]:
    """The faults of the readers of one answer, one for each fault of each reader."""
    whole = [each for each in tape.readings if each.is_whole]
    for each in whole:
        expected = max(whole, key=lambda other: len(other.order))
        if set(each.order) != set(expected.order):
            yield "gap"
        elif each.order != expected.order:
            yield "order"
        if each.contradictions or each.text != expected.text:
            yield "difference"
        if each.is_damaged:
            yield "damaged"
        if pace is not None:
            yield from _faults_of_tokens(numbers(each.text), pace)


def _faults_of_tokens(found: list[int], pace: Pace) -> Iterator[str]:
    if set(found) != set(range(pace.tokens)):
        yield "gap"
    elif found != [*range(pace.tokens)]:
        yield "order"


def _first_s(streams: Iterable[Stream]) -> Iterator[float]:
    for stream in streams:
        for reading in stream.tape.readings:
            if reading.arrived_s:
                yield reading.arrived_s[0] - stream.submitted_s


def _skews_s(readings: Sequence[Reading]) -> Iterator[float]:
    """For each delta that came when all read: from the first reader that has it to the last."""
    reading = [each for each in readings if each.arrived_s]
    if len(reading) < 2:
        return
    all_read_s = max(each.arrived_s[0] for each in reading)
    arrivals = [dict(zip(each.order, each.arrived_s, strict=True)) for each in reading]
    for number, arrived_s in arrivals[0].items():
        times = [each[number] for each in arrivals if number in each]
        if min(arrived_s, *times) > all_read_s:
            yield max(times) - min(times)


def _ms(seconds: Iterable[float]) -> list[float]:
    return [each * 1000 for each in seconds]
