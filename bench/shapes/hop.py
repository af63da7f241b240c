"""The cost of queue and log: the same answers directly from the upstream, and through Tickertape.

The API and the worker share the server's core. Rounds of all ways alternate, and the callers are
the same program, which checks every answer for lost, repeated and disordered deltas.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from bench.asking import DIRECT, NATIVE, THROUGH, Asked, Plan, Running, ask, deployed
from bench.box import Box
from bench.released import VERSION, released
from bench.report import Bound, Report, Spread, Strip, Table, percentile_ms, ratios

_RATE_PER_S = 50
_MANY = 150
_OLD = f"through {VERSION}"
_WARM_UP = Plan(10, _RATE_PER_S)

# The way of each call, and the deployment that it calls.
Ways = Mapping[str, tuple[Running, str]]
Played = Mapping[str, list[Asked]]


@dataclass(frozen=True)
class _Load:
    """So many callers at once, each with `each` calls, one after the other."""

    at_once: int
    plan: Plan
    each: int

    @property
    def spread_s(self) -> float:
        return self.plan.length_s if self.at_once > 1 else 0

    @property
    def planned_s(self) -> float:
        return self.spread_s + self.each * self.plan.length_s


async def measure(box: Box, *, rounds: int) -> Report:
    """Measure the delay that Tickertape adds to the first delta and to each delta."""
    one = _Load(1, Plan(5, _RATE_PER_S), 2 if box.is_quick else 20)
    some = _Load(30, Plan(75, _RATE_PER_S), 2)
    many = _Load(_MANY, Plan(25 if box.is_quick else 175, _RATE_PER_S), 2)
    async with deployed(box) as running, deployed(box, make=released(box)) as other:
        ways: Ways = {DIRECT: (running, DIRECT), THROUGH: (running, THROUGH)}
        of_one: Ways = {**ways, NATIVE: (running, NATIVE), _OLD: (other, THROUGH)}
        for each in (running, other):
            await ask(box, each, THROUGH, _WARM_UP, at_once=50, each=2)
        loads = (one, many) if box.is_quick else (one, some, many)
        played = {
            load.at_once: await _rounds(box, of_one if load == one else ways, rounds, load)
            for load in loads
        }
    strips = {
        f"{what}, {at_once} at once": _added(each, of, 0.5).values
        for at_once, each in played.items()
        for what, of in (("first delta", _first), ("each delta", _each))
    }
    note = (
        f"Each answer has {_RATE_PER_S} deltas a second. Callers start at random times, and submit"
        " again when their answer is complete. `first delta` is measured from the submit. `Kept up`"
        " compares the time in which all answers were complete."
    )
    return Report(
        tables=[
            Table(
                ("at once", "way", "first delta p50 / p99, ms", "each delta p50 / p99, ms"),
                [row for at_once, each in played.items() for row in _rows(at_once, each)],
            )
        ],
        bounds=[*_bounds_of_one(played[1]), *_bounds_of_many(many, played[_MANY])],
        plots=[Strip("hop", "What the hop adds: every round", "added at p50, ms", strips)],
        notes=[note],
    )


def _bounds_of_one(played: Played) -> list[Bound]:
    mine, old = (_added(played, _first, 0.5, way) for way in (THROUGH, _OLD))
    return [
        Bound(
            f"added to the first delta of one answer, p50, of {VERSION}'s",
            ratios(mine.values, old.values),
            0.5,
            0.35,
        )
    ]


def _bounds_of_many(load: _Load, played: Played) -> list[Bound]:
    kept = Spread(tuple(load.planned_s / asked.took_s for asked in played[THROUGH]))
    direct = Spread(tuple(load.planned_s / asked.took_s for asked in played[DIRECT]))
    return [
        Bound(
            f"{_MANY} at once: kept up, of the direct way",
            ratios(kept.values, direct.values),
            0.97,
            at_least=True,
        ),
        Bound(f"{_MANY} at once: added to each delta, p50", _added(played, _each, 0.5), 3, 1, "ms"),
        Bound(
            f"{_MANY} at once: added to each delta, p99", _added(played, _each, 0.99), 20, 8, "ms"
        ),
    ]


async def _rounds(box: Box, ways: Ways, rounds: int, load: _Load) -> dict[str, list[Asked]]:
    played: dict[str, list[Asked]] = {label: [] for label in ways}
    for _ in range(rounds):
        for label, (running, way) in ways.items():
            asked = await ask(
                box,
                running,
                way,
                load.plan,
                at_once=load.at_once,
                each=load.each,
                spread_s=load.spread_s,
            )
            played[label].append(asked)
    return played


def _rows(at_once: int, played: Played) -> list[list[str]]:
    return [
        [
            str(at_once),
            way,
            *(
                f"{_percentile(asked, of, 0.5)} / {_percentile(asked, of, 0.99)}"
                for of in (_first, _each)
            ),
        ]
        for way, asked in played.items()
    ]


def _added(
    played: Played, of: Callable[[Asked], list[int]], share: float, way: str = THROUGH
) -> Spread:
    through, direct = (_percentile(played[each], of, share).values for each in (way, DIRECT))
    return Spread(tuple(a - b for a, b in zip(through, direct, strict=True)))


def _first(asked: Asked) -> list[int]:
    return asked.first_us


def _each(asked: Asked) -> list[int]:
    return asked.each_us


def _percentile(rounds: Iterable[Asked], of: Callable[[Asked], list[int]], share: float) -> Spread:
    return Spread(tuple(percentile_ms(of(asked), share) for asked in rounds))
