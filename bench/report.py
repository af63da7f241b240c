"""The results of a shape as data: tables, bounds and plots.

A shape is a module with `async def measure(box: Box, *, rounds: int) -> Report`. `__main__.py`
lists the shapes, and `document.py` writes their reports.
"""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from tickertape.cli.bench.percentiles import percentile


@dataclass(frozen=True)
class Spread:
    """One figure of every round, in order. No round is left out."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    def __str__(self) -> str:
        """The median, with the smallest and the largest value in brackets."""
        if len(self.values) == 1:
            return short(self.values[0])
        return f"{short(self.median)} ({short(min(self.values))}-{short(max(self.values))})"

    @property
    def all(self) -> str:
        """The value of every round."""
        return " ".join(map(short, self.values))


@dataclass(frozen=True)
class Bound:
    """The limits of a figure: its median must meet `must`, and should meet `aim`.

    A figure without `must` only has an aim.

    `what` names the figure, for example "CPU per event, of the write limit's".
    """

    what: str
    spread: Spread
    must: float | None
    aim: float | None = None
    unit: str = "x"
    at_least: bool = False

    @property
    def is_held(self) -> bool:
        return self.must is None or self._meets(self.must)

    @property
    def reaches_aim(self) -> bool:
        return self.aim is not None and self._meets(self.aim)

    def cells(self) -> list[str]:
        """One row of the table of bounds."""
        sign = ">=" if self.at_least else "<="
        must, aim = (
            "" if limit is None else f"{sign} {short(limit)} {self.unit}"
            for limit in (self.must, self.aim)
        )
        return [
            self.what,
            must,
            aim,
            f"{self.spread} {self.unit}",
            self.spread.all,
            self._verdict,
        ]

    @property
    def _verdict(self) -> str:
        if self.reaches_aim:
            return "aim"
        if self.must is None:
            return "aim missed"
        return "held" if self.is_held else "**not held**"

    def _meets(self, limit: float) -> bool:
        median = self.spread.median
        return median >= limit if self.at_least else median <= limit


@dataclass(frozen=True)
class Table:
    """A table of text."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]

    def __str__(self) -> str:
        """The table in Markdown."""
        lines = [self.columns, ["---"] * len(self.columns), *self.rows]
        return "\n".join("| " + " | ".join(line) + " |" for line in lines)


@dataclass(frozen=True)
class Plot:
    """Curves over one axis: each name with its points (x, y), drawn as docs/performance/`name`."""

    name: str
    title: str
    x: str
    y: str
    curves: Mapping[str, Sequence[tuple[float, float]]]
    is_log_x: bool = True  # both axes are logarithmic, so that a flat curve stays flat


@dataclass(frozen=True)
class Strip:
    """A dot for each round of each server, with the median."""

    name: str
    title: str
    y: str
    values: Mapping[str, Sequence[float]]


@dataclass(frozen=True)
class Report:
    """The results of one shape. `notes` explain skipped servers and unusual figures.

    `headline` is one sentence for the first page of the document.
    """

    tables: Sequence[Table] = ()
    bounds: Sequence[Bound] = ()
    plots: Sequence[Plot | Strip] = ()
    notes: Sequence[str] = field(default_factory=list)
    headline: str = ""

    def __str__(self) -> str:
        """The report in Markdown, without its plots."""
        parts = [str(table) for table in self.tables]
        if self.bounds:
            parts.append(str(Table(_BOUND_COLUMNS, [bound.cells() for bound in self.bounds])))
        parts += self.notes
        return "\n\n".join(parts)


_BOUND_COLUMNS = ("figure", "must", "aim", "median (min-max)", "all rounds", "verdict")


def inverse(spread: Spread) -> Spread:
    """The reciprocal of each value."""
    return Spread(tuple(1 / value for value in spread.values))


def ratios(ours: Iterable[float], theirs: Iterable[float]) -> Spread:
    """The ratio of each round, because a disturbance affects both servers of a round."""
    return Spread(tuple(a / b for a, b in zip(ours, theirs, strict=True)))


def short(value: float) -> str:
    """Pure: `value` with three significant digits, and every digit before the point."""
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2 if abs(value) >= 1 else 3
    return f"{value:,.{digits}f}"


def percentile_ms(values_us: list[int], share: float) -> float:
    """The percentile `share` (0 to 1) of `values_us`, in ms."""
    if share == 0.5:
        return statistics.median(values_us) / 1000
    return percentile(values_us, share) / 1000
