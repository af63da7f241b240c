"""600 and 1,000 generations at once, 50 deltas a second each, in one worker on one core."""

from collections.abc import Mapping

from bench.asking import deployed
from bench.box import Box
from bench.generating import WINDOW_S, GenerationRound, play, spread, table
from bench.report import Bound, Report, Spread

_MUST, _AIM, _PER_S = 600, 1000, 50
_KEPT, _P99_MS = 0.97, 20.0


async def measure(box: Box, *, rounds: int) -> Report:
    """Measure whether a worker keeps up, and the delays of its deltas."""
    window_s = WINDOW_S / (3 if box.is_quick else 1)
    played: dict[int, list[GenerationRound]] = {_MUST: [], _AIM: []}
    async with deployed(box, slots=_AIM, api_beside_workers=False) as running:
        await play(running, 20, 20, 0.1)
        for _ in range(rounds):
            for at_once, each in played.items():
                each.append(await play(running, at_once, _PER_S, window_s))
                if not _is_kept_up(each[-1]):
                    break
    many = played[_MUST]
    note = (
        f"Kept up with: at least {_KEPT:.0%} of the deltas arrived in the window, and the p99 of"
        f" their delays was at most {_P99_MS:g} ms."
    )
    return Report(
        tables=[table(f"at once, {_PER_S} deltas/s each", played)],
        bounds=[
            Bound("600 at once: p99 of a delta", spread(many, "p99_ms"), _P99_MS, unit="ms"),
            Bound("600 at once: deltas received", spread(many, "kept"), _KEPT, at_least=True),
            Bound("answers kept up with", _kept_up(played), _MUST, _AIM, unit="", at_least=True),
        ],
        notes=[note],
    )


def _kept_up(played: Mapping[int, list[GenerationRound]]) -> Spread:
    """The most answers of each round that were kept up with; 0 if there were none."""
    many, most = (list(map(_is_kept_up, each)) for each in played.values())
    # The larger number is tried only in rounds in which the smaller one was kept up with.
    tries = iter(most)
    return Spread(
        tuple(float(_AIM if next(tries) else _MUST) if is_kept else 0.0 for is_kept in many)
    )


def _is_kept_up(one: GenerationRound) -> bool:
    return one.kept >= _KEPT and one.p99_ms <= _P99_MS
