"""How many users one core serves: answers at once, each with its reader, until delays grow.

The API and the worker share the server's core, in this tree and in release 0.1.0. A round raises
the number of answers until the core is full.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from bench.asking import THROUGH, Plan, Running, ask, deployed
from bench.box import Box
from bench.released import VERSION, released
from bench.report import Plot, Report, Spread, Table, percentile_ms

_PER_S, _DELTAS, _EACH = 50, 150, 2
_STEPS = (50, 75, 100, 125, 150, 200, 250, 300)
_KEPT, _P99_MS = 0.97, 20.0


@dataclass(frozen=True)
class Step:
    """The delays of the deltas at so many answers at once, and whether they were kept up with."""

    p50_ms: float
    p99_ms: float
    kept: float

    @property
    def is_kept_up(self) -> bool:
        return self.kept >= _KEPT and self.p99_ms <= _P99_MS


# The steps of each round, by the number of answers at once.
Rounds = list[dict[int, Step]]


async def measure(box: Box, *, rounds: int) -> Report:
    """Measure the delays of both trees at each number of answers."""
    steps = _STEPS[:1] if box.is_quick else _STEPS
    plan = Plan(_DELTAS // 6 if box.is_quick else _DELTAS, _PER_S)
    async with deployed(box) as running, deployed(box, make=released(box)) as other:
        trees = {"ours": running, VERSION: other}
        played: dict[str, Rounds] = {label: [] for label in trees}
        for tree in trees.values():
            await ask(box, tree, THROUGH, Plan(10, _PER_S), at_once=50, each=2)
        for _ in range(rounds):
            for label, tree in trees.items():
                played[label].append(await _round(box, tree, plan, steps))
    most = {label: _most(each) for label, each in played.items()}
    note = (
        f"Each answer has {plan.deltas} deltas, {_PER_S} a second, and one reader. The reader asks"
        " again when the answer is complete. Kept up with: answers took at most"
        f" {1 / _KEPT:.2f} times as long as the upstream needs, and the p99 of a delta's delay was"
        f" at most {_P99_MS:g} ms. A round ends with the first number that was not kept up with."
    )
    return Report(
        tables=[
            Table(
                ("tree", "answers at once", "each delta p50 / p99, ms", "kept up"),
                [row for label, each in played.items() for row in _rows(label, each)],
            ),
            Table(
                ("tree", "most answers kept up with", "all rounds"),
                [[label, str(spread), spread.all] for label, spread in most.items()],
            ),
        ],
        plots=[
            Plot(
                "users",
                "Answers of 50 tokens a second on one core",
                "answers at once, each with a reader",
                "p99 of a token's delay, ms",
                {
                    label: [(count, p99.median) for count, p99 in _p99(each).items()]
                    for label, each in played.items()
                },
            )
        ],
        notes=[note],
        headline=(
            f"**{most['ours'].median:,.0f} answers at once**, of {_PER_S} tokens a second each, run"
            f" and are read on one core that the API and the worker share"
            f" ({VERSION}: {most[VERSION].median:,.0f}). The p99 of a token's delay is at most"
            f" {_P99_MS:g} ms."
        ),
    )


async def _round(box: Box, running: Running, plan: Plan, steps: Sequence[int]) -> dict[int, Step]:
    played: dict[int, Step] = {}
    for count in steps:
        asked = await ask(
            box, running, THROUGH, plan, at_once=count, each=_EACH, spread_s=plan.length_s
        )
        played[count] = Step(
            percentile_ms(asked.each_us, 0.5),
            percentile_ms(asked.each_us, 0.99),
            (1 + _EACH) * plan.length_s / asked.took_s,
        )
        if not played[count].is_kept_up:
            break
    return played


def _most(rounds: Rounds) -> Spread:
    """The largest number of each round that was kept up with; 0 if there was none."""
    return Spread(
        tuple(
            float(max((count for count, step in each.items() if step.is_kept_up), default=0))
            for each in rounds
        )
    )


def _p99(rounds: Rounds) -> dict[int, Spread]:
    return {
        count: Spread(tuple(each[count].p99_ms for each in rounds if count in each))
        for count in sorted({count for each in rounds for count in each})
    }


def _rows(label: str, rounds: Rounds) -> list[list[str]]:
    rows = []
    for count, p99 in _p99(rounds).items():
        steps = [each[count] for each in rounds if count in each]
        p50 = Spread(tuple(step.p50_ms for step in steps))
        kept = Spread(tuple(step.kept for step in steps))
        rows.append([label, str(count), f"{p50} / {p99}", str(kept)])
    return rows
