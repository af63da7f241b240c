"""One to four workers on one core. Sharing the work must not make a token cost more."""

from bench.asking import deployed
from bench.box import Box
from bench.generating import WINDOW_S, GenerationRound, play, spread, table
from bench.report import Bound, Report, Spread
from bench.shapes.concurrency import PER_S

_WORKERS = (1, 2, 4)
_GENERATIONS = 300


async def measure(box: Box, *, rounds: int) -> Report:
    """Measure CPU per token of all workers together."""
    played: dict[int, list[GenerationRound]] = {count: [] for count in _WORKERS}
    for _ in range(rounds):
        for count in (1, 2) if box.is_quick else _WORKERS:
            async with deployed(box, workers=count, api_beside_workers=False) as running:
                await play(running, 20, 20, 0.1)
                played[count].append(await play(running, _GENERATIONS, PER_S, WINDOW_S))
    costs = [spread(each, "us_per_token").values for each in played.values() if each]
    growth = Spread(tuple(max(each) / each[0] for each in zip(*costs, strict=True)))
    return Report(
        tables=[table(f"workers, {_GENERATIONS} generations, {PER_S} deltas/s each", played)],
        bounds=[Bound("CPU per token, of one worker's", growth, 1.5)],
    )
