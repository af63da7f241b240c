"""What a run has shown."""

from collections import Counter
from dataclasses import dataclass, field

from tests.isolation.marks import Checked

_SHOWN = 8
_TRIES = 60


@dataclass
class Record:
    """Counts of all that was done and received, and whatever was received by the wrong person."""

    counts: Counter[str] = field(default_factory=Counter)
    deltas: Counter[str] = field(default_factory=Counter)
    statuses: Counter[str] = field(default_factory=Counter)
    bytes: int = 0
    foreign: list[str] = field(default_factory=list)
    opened: list[str] = field(default_factory=list)
    outlived: list[str] = field(default_factory=list)
    odd: Counter[str] = field(default_factory=Counter)
    took_s: float = 0
    slowest_end_s: float = 0

    @property
    def received(self) -> int:
        """The number of received deltas."""
        return sum(self.deltas.values())

    @property
    def is_clean(self) -> bool:
        """Whether nobody received, opened or kept what is not theirs, and all went as expected."""
        return not (self.foreign or self.opened or self.outlived or self.odd)

    def is_enough(self, deltas: int) -> bool:
        """Whether so many deltas were received, and the other attacks were tried as well."""
        has_tried = sum(self.statuses.values()) >= _TRIES and self.counts["keys revoked"] > 0
        return self.received >= deltas and has_tried

    def add(self, reader: str, checked: Checked) -> None:
        """Count what a reader received since it was added last."""
        self.deltas[checked.wire.name] += checked.deltas
        self.bytes += checked.bytes
        self.foreign += [f"{reader} received {mark!r}" for mark in sorted(checked.foreign)]
        checked.deltas = checked.bytes = 0
        checked.foreign.clear()

    def report(self) -> str:
        """The result in words."""
        lines = [
            f"{self.received:,} deltas, {self.bytes / 1e6:,.0f} MB, in {self.took_s:.0f} s",
            f"{self.received / (self.took_s or 1):,.0f} deltas a second",
            f"by wire: {_in_words(self.deltas)}",
            f"done: {_in_words(self.counts)}",
            f"a revoked right ended its streams within {self.slowest_end_s:.1f} s",
            f"tries at what belongs to others: {_in_words(self.statuses)}",
        ]
        for name, problems in (
            ("FOREIGN", self.foreign),
            ("OPENED", self.opened),
            ("OUTLIVED", self.outlived),
        ):
            lines.append(f"{name.lower()}: {len(problems)}")
            lines += [f"    {problem}" for problem in problems[:_SHOWN]]
        lines += [f"odd, {count} times: {what}" for what, count in self.odd.most_common(_SHOWN)]
        return "\n".join([*lines, "clean" if self.is_clean else "NOT clean"])


def _in_words(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items()))
