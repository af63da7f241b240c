"""The calls, answers and events of one run, which the invariants check.

Times are of the machine's monotonic clock, in seconds, so those of other processes compare.
"""

import contextlib
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from tests.broker.snapshot import Snapshot
from tests.chaos.words import words_of
from tests.support.sse import Event
from tickertape.broker.codec import Entry
from tickertape.broker.kinds import OPENERS, TERMINALS

if TYPE_CHECKING:
    from tests.chaos.handing_on import Handed


@dataclass(frozen=True)
class Accepted:
    """A submit that was answered with an id. `tag` marks every word of its answer as its own."""

    request_id: str
    tenant: str
    key: str
    tag: str
    words: int
    policy: str = "restart"
    conversation: str | None = None
    asked_s: float = 0
    answered_s: float = 0
    function: str | None = None


@dataclass(frozen=True)
class Refusal:
    """A submit that was refused because a limit was reached."""

    tenant: str
    key: str
    status: int
    retry_after: str | None


@dataclass(frozen=True)
class Cancelled:
    """A cancel that was answered, and when."""

    request_id: str
    status: str
    at_s: float
    asked_s: float = 0


@dataclass(frozen=True)
class Missed:
    """A call of `caller` that was answered 404 for an accepted request."""

    request_id: str
    caller: str


@dataclass(frozen=True)
class Drained:
    """A call that was answered 503 because its API process stopped, and the time it took."""

    call: str
    begin_s: float
    end_s: float
    retry_after: str | None


@dataclass
class Subscriber:
    """All events one reader got, over all its connections, in the order they came.

    It read one request, or else all of `conversation`. `has_ended` is set at the terminal, and then
    `ended_s` is the time.
    """

    name: str
    tenant: str
    request_id: str | None = None
    conversation: str | None = None
    events: list[Event] = field(default_factory=list)
    connections: int = 0
    has_ended: bool = False
    ended_s: float = 0


@dataclass(frozen=True)
class Call:
    """A call as the upstream's journal has it: the `number`-th one with this tag.

    `outcome` is None while it is being answered; `closed_at_s` is set if the client left first.
    `memory` is what went before the question: the tag of each earlier one, and its answer.
    """

    tag: str
    number: int
    started_at_s: float
    words_sent: int
    outcome: str | None
    closed_at_s: float | None = None
    memory: tuple[tuple[str, str], ...] = ()


StepEvent = Literal["begun", "asked", "paid", "kept"]


@dataclass(frozen=True)
class FunctionStep:
    """What a function noted about itself, when it had spoken so many words.

    It has begun, from a checkpoint if there are words; it is about to yield the call of its tool;
    the tool runs; a checkpoint is kept.
    """

    request_id: str
    words: int
    event: StepEvent
    at_s: float


@dataclass(frozen=True)
class Final:
    """A request after all faults: its log, its hash in Redis, and its status at the API."""

    entries: list[Entry]
    stored: dict[str, str]
    view: dict[str, Any]

    @property
    def terminal(self) -> Entry | None:
        """The last entry if it is one that ends a log."""
        return self.entries[-1] if self.entries and self.entries[-1].kind in TERMINALS else None

    @property
    def asked(self) -> tuple[int, ...]:
        """The position of its turn in the conversation."""
        return tuple(map(int, self.stored["asked"].split("-")))

    def calls(self) -> Iterator[int]:
        """The numbers of the upstream's calls whose words are in the log."""
        for attempt in self.attempts():
            words = words_of("".join(entry.text for entry in attempt if entry.kind == "delta"))
            if words:
                yield words[-1].call

    def attempts(self) -> Iterator[list[Entry]]:
        """The entries of each attempt; what comes before the first is left out."""
        attempt: list[Entry] = []
        for entry in self.entries:
            if entry.kind in OPENERS:
                if attempt:
                    yield attempt
                attempt = [entry]
            elif attempt:
                attempt.append(entry)
        if attempt:
            yield attempt


@dataclass(frozen=True)
class Trouble:
    """A time in which a fault kept a process from its work."""

    kind: str
    begin_s: float
    end_s: float


@dataclass(frozen=True)
class Loss:
    """A time whose acknowledged writes to these partitions a promoted replica may lack.

    At `begin_s` the replica had every write. At `end_s` the old master took no more of them.
    """

    kind: str
    partitions: frozenset[int]
    begin_s: float
    end_s: float


@dataclass
class History:
    """One run. `odd` has the answers and log records that no process should produce.

    `repeats` counts the reasons for which calls were repeated. `at_rest` has what is stored after
    the run, by partition, and `handed` what reached a receiver and a database, if there are such.
    """

    max_crashes: int
    accepted: list[Accepted] = field(default_factory=list)
    # When a submit with this tag was sent for the first time, answered or not.
    first_asked_s: dict[str, float] = field(default_factory=dict)
    refusals: list[Refusal] = field(default_factory=list)
    cancels: list[Cancelled] = field(default_factory=list)
    subscribers: list[Subscriber] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    steps: list[FunctionStep] = field(default_factory=list)
    finals: dict[str, Final] = field(default_factory=dict)
    missed: list[Missed] = field(default_factory=list)
    drained: list[Drained] = field(default_factory=list)
    repeats: Counter[str] = field(default_factory=Counter)
    troubles: list[Trouble] = field(default_factory=list)
    losses: list[Loss] = field(default_factory=list)
    odd: list[str] = field(default_factory=list)
    at_rest: list[Snapshot] = field(default_factory=list)
    handed: "Handed | None" = None
    # The wall clock less the monotonic one.
    clock_ahead_s: float = field(default_factory=lambda: time.time() - time.monotonic())

    @contextlib.contextmanager
    def trouble(self, kind: str) -> Iterator[None]:
        """Record that the harmed part is excused from its duties until the end of the block."""
        begin_s = time.monotonic()
        try:
            yield
        finally:
            self.troubles.append(Trouble(kind, begin_s, time.monotonic()))

    def outcomes(self) -> Iterator[tuple[Accepted, Final]]:
        """Each accepted request with its final state; lost requests are left out.

        A request that was submitted more than once is the first of its submits.
        """
        for request_id, accepted in {e.request_id: e for e in reversed(self.accepted)}.items():
            if request_id in self.finals:
                yield accepted, self.finals[request_id]

    def undisturbed_s(self, at_s: float, for_s: float) -> float:
        """The first time from `at_s` on that is followed by `for_s` without trouble."""
        for trouble in sorted(self.troubles, key=lambda each: each.begin_s):
            if trouble.begin_s <= at_s + for_s and trouble.end_s > at_s:
                at_s = trouble.end_s
        return at_s

    def calls_by_tag(self) -> dict[str, list[Call]]:
        """The upstream's calls for each answer."""
        calls: dict[str, list[Call]] = defaultdict(list)
        for call in self.calls:
            calls[call.tag].append(call)
        return calls
