"""One to 1,000 generations at once in one worker. The cost of a token must not grow."""

from bench.asking import deployed
from bench.box import Box
from bench.generating import WINDOW_S, GenerationRound, play, spread, table
from bench.report import Bound, Plot, Report, Spread

# Slow enough that a thousand generations do not use a whole core.
PER_S = 8
_AT_ONCE = (1, 100, 300, 1000)


async def measure(box: Box, *, rounds: int) -> Report:
    """Measure CPU per token and delays."""
    steps = (1, 100) if box.is_quick else _AT_ONCE
    played: dict[int, list[GenerationRound]] = {at_once: [] for at_once in steps}
    async with deployed(box, api_beside_workers=False) as running:
        await play(running, 20, 20, 0.1)
        for _ in range(rounds):
            for at_once, each in played.items():
                each.append(await play(running, at_once, PER_S, WINDOW_S))
    costs = {at_once: spread(each, "us_per_token") for at_once, each in played.items()}
    return Report(
        tables=[table(f"at once, {PER_S} deltas/s each", played)],
        bounds=[
            Bound("CPU per token, most at once over the cheapest of fewer", _growth(costs), 1.5)
        ],
        plots=[
            Plot(
                "concurrency",
                "Generations at once in one worker",
                "generations at once",
                "CPU per token, us",
                {"worker": [(at_once, cost.median) for at_once, cost in costs.items()]},
            )
        ],
    )


def _growth(costs: dict[int, Spread]) -> Spread:
    *fewer, most = [cost.values for cost in costs.values()]
    cheapest = [min(each) for each in zip(*fewer, strict=True)]
    return Spread(tuple(a / b for a, b in zip(most, cheapest, strict=True)))
