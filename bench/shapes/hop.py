"""The cost of queue and log: the same answers directly from the upstream, and through Tickertape.

The API and the worker share the server's core. Rounds of both ways alternate, and the callers are
the same program, which checks every answer for lost, repeated and disordered deltas.
"""

from collections.abc import Callable, Iterable

from bench.asking import DIRECT, NATIVE, THROUGH, Asked, Plan, Running, ask, deployed
from bench.box import Box
from bench.report import Bound, Report, Spread, Strip, Table, percentile_ms

_RATE_PER_S = 50
_SOME = 30
_MANY, _MANY_MUST_MS, _MANY_AIM_MS = 150, (1.5, 0.6), (1.0, 0.4)
_WARM_UP = Plan(10, _RATE_PER_S)


async def measure(box: Box, *, rounds: int) -> Report:
    """Measure the delay that Tickertape adds to the first delta and to each delta."""
    one = (1, Plan(25, _RATE_PER_S), 1 if box.is_quick else 4)
    some = (_SOME, Plan(75, _RATE_PER_S), 2)
    many = (_MANY, Plan(25 if box.is_quick else 175, _RATE_PER_S), 2)
    rows, bounds, strips = [], [], {}
    async with deployed(box) as running:
        await ask(box, running, THROUGH, _WARM_UP, at_once=50, each=2)
        for at_once, plan, each in (one, many) if box.is_quick else (one, some, many):
            played = await _rounds(box, running, rounds, at_once, plan, each)
            rows += _rows(at_once, played)
            added = [_added(played, each_us) for each_us in (_first, _each)]
            for what, spread in zip(("first delta", "each delta"), added, strict=True):
                strips[f"{what}, {at_once} at once"] = spread.values
            if at_once == _MANY:
                names = ("added to the first delta, p50", "added to each delta, p50")
                bounds += [
                    Bound(name, spread, must, aim, unit="ms")
                    for name, spread, must, aim in zip(
                        names, added, _MANY_MUST_MS, _MANY_AIM_MS, strict=True
                    )
                ]
    note = (
        f"Each answer has {_RATE_PER_S} deltas a second. Callers start at random times, and submit"
        " again when their answer is complete. `first delta` is measured from the submit."
    )
    return Report(
        tables=[
            Table(("at once", "way", "first delta p50 / p99, ms", "each delta p50 / p99, ms"), rows)
        ],
        bounds=bounds,
        plots=[Strip("hop", "What the hop adds: every round", "added at p50, ms", strips)],
        notes=[note],
    )


async def _rounds(
    box: Box, running: Running, rounds: int, at_once: int, plan: Plan, each: int
) -> dict[str, list[Asked]]:
    ways = (DIRECT, THROUGH, NATIVE) if at_once == 1 else (DIRECT, THROUGH)
    played: dict[str, list[Asked]] = {way: [] for way in ways}
    spread_s = plan.length_s if at_once > 1 else 0
    for _ in range(rounds):
        for way, asked in played.items():
            asked.append(
                await ask(box, running, way, plan, at_once=at_once, each=each, spread_s=spread_s)
            )
    return played


def _rows(at_once: int, played: dict[str, list[Asked]]) -> list[list[str]]:
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


def _added(played: dict[str, list[Asked]], of: Callable[[Asked], list[int]]) -> Spread:
    ours, theirs = (_percentile(played[way], of, 0.5).values for way in (THROUGH, DIRECT))
    return Spread(tuple(a - b for a, b in zip(ours, theirs, strict=True)))


def _first(asked: Asked) -> list[int]:
    return asked.first_us


def _each(asked: Asked) -> list[int]:
    return asked.each_us


def _percentile(rounds: Iterable[Asked], of: Callable[[Asked], list[int]], share: float) -> Spread:
    return Spread(tuple(percentile_ms(of(asked), share) for asked in rounds))
