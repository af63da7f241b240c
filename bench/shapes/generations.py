"""600 generations at once with 50 deltas a second each, in one worker on one core."""

from bench.asking import deployed
from bench.box import Box
from bench.generating import WINDOW_S, play, spread, table
from bench.report import Bound, Report

_MANY, _MANY_PER_S = 600, 50


async def measure(box: Box, *, rounds: int) -> Report:
    """Measure whether a worker keeps up, and the delays of its deltas."""
    async with deployed(box, api_beside_workers=False) as running:
        await play(running, 20, 20, 0.1)
        many = [
            await play(running, _MANY, _MANY_PER_S, WINDOW_S / (3 if box.is_quick else 1))
            for _ in range(rounds)
        ]
    return Report(
        tables=[table(f"at once, {_MANY_PER_S} deltas/s each", {_MANY: many})],
        bounds=[
            Bound("600 at once: p99 of a delta", spread(many, "p99_ms"), 20, 15, unit="ms"),
            Bound("600 at once: deltas received", spread(many, "kept"), 0.97, at_least=True),
        ],
    )
