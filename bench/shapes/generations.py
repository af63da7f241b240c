"""Many generations at once: 600 on one core, one to 1,000 in one worker, one to four workers."""

import asyncio
import time
from dataclasses import dataclass

from bench.asking import THROUGH, Plan, Running, ask, deployed
from bench.box import Box, cpu_s
from bench.report import Bound, Plot, Report, Spread, Table
from bench.shapes.hop import percentile_ms

_MANY, _RATE_PER_S = 600, 50
_CURVE = (1, 10, 100, 300, 1000)
# So slow that a thousand of them fill no core.
_CURVE_RATE_PER_S = 10
_WORKERS = (1, 2, 3, 4)
_WARM_UP = Plan(10, _RATE_PER_S)


@dataclass(frozen=True)
class Round:
    """What one round showed. `kept` is the share of the upstream's speed that readers saw."""

    us_per_token: float
    p99_ms: float
    cores: float
    kept: float


async def measure(box: Box, *, rounds: int) -> Report:
    """Delay and CPU per token, of the workers alone."""
    many_rounds: list[Round] = []
    curve: dict[int, list[Round]] = {at_once: [] for at_once in _CURVE}
    workers: dict[int, list[Round]] = {count: [] for count in _WORKERS}
    async with deployed(box, api_beside_workers=False) as running:
        await ask(box, running, THROUGH, _WARM_UP, at_once=50, each=2)
        many = Plan(100 if box.is_quick else 250, _RATE_PER_S)
        slow = Plan(20 if box.is_quick else 50, _CURVE_RATE_PER_S)
        for _ in range(rounds):
            many_rounds.append(await _round(box, running, many, _MANY))
            for at_once in curve if not box.is_quick else (1, 100):
                curve[at_once].append(await _round(box, running, slow, at_once))
    for _ in range(1 if box.is_quick else min(rounds, 3)):
        for count in _WORKERS[: 2 if box.is_quick else None]:
            async with deployed(box, workers=count, api_beside_workers=False) as running:
                await ask(box, running, THROUGH, _WARM_UP, at_once=50, each=2)
                workers[count].append(await _round(box, running, many, _MANY // 2))
    costs = {at_once: _costs(played) for at_once, played in curve.items() if played}
    return Report(
        tables=[
            _table("generations at once", {_MANY: many_rounds, **curve}),
            _table("workers on one core, 300 generations", workers),
        ],
        bounds=[
            Bound("600 at once: p99 of a delta", _p99s(many_rounds), 20, 15, unit="ms"),
            Bound(
                "600 at once: of the upstream's speed",
                Spread(tuple(each.kept for each in many_rounds)),
                0.97,
                at_least=True,
            ),
            Bound("CPU per token, most over fewest", _growth(list(costs.values())), 1.5),
        ],
        plots=[
            Plot(
                "generations",
                "Generations at once in one worker",
                "generations at once",
                "CPU per token, us",
                {"worker": [(at_once, costs[at_once].median) for at_once in costs]},
            )
        ],
    )


async def _round(box: Box, running: Running, plan: Plan, at_once: int) -> Round:
    each = 2
    idle_s = await _idle_cpu_s(running)
    began_s, before_s = time.monotonic(), cpu_s(running.workers)
    asked = await ask(
        box, running, THROUGH, plan, at_once=at_once, each=each, spread_s=plan.length_s
    )
    took_s = time.monotonic() - began_s
    used_s = cpu_s(running.workers) - before_s
    return Round(
        (used_s - idle_s * took_s) / (at_once * each * plan.deltas) * 1e6,
        percentile_ms(asked.each_us, 0.99),
        used_s / took_s,
        (each + 1) * plan.length_s / took_s,
    )


async def _idle_cpu_s(running: Running) -> float:
    """What the workers use in a second without work: it is no token's."""
    before_s = cpu_s(running.workers)
    await asyncio.sleep(1)
    return cpu_s(running.workers) - before_s


def _costs(rounds: list[Round]) -> Spread:
    return Spread(tuple(each.us_per_token for each in rounds))


def _p99s(rounds: list[Round]) -> Spread:
    return Spread(tuple(each.p99_ms for each in rounds))


def _growth(costs: list[Spread]) -> Spread:
    """How much dearer a token is with the most at once than with fewer, at the worst."""
    *fewer, most = costs
    return Spread(
        tuple(
            value / min(each.values[number] for each in fewer)
            for number, value in enumerate(most.values)
        )
    )


def _table(name: str, played: dict[int, list[Round]]) -> Table:
    return Table(
        (name, "CPU per token, us", "of a core", "delay p99, ms", "of the upstream's speed"),
        [
            [
                f"{count:,}",
                str(_costs(rounds)),
                str(Spread(tuple(each.cores for each in rounds))),
                str(_p99s(rounds)),
                str(Spread(tuple(each.kept for each in rounds))),
            ]
            for count, rounds in played.items()
            if rounds
        ],
    )
