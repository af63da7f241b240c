"""Many logs, one reader each: 2,000 x 30 events a second."""

from collections.abc import Sequence
from contextlib import AsyncExitStack
from statistics import median

from bench.box import Box
from bench.contest import Field, contest, entry, strip, table, us_per_event
from bench.peers import limit, nchan, ours
from bench.report import Bound, Report, ratios
from bench.rounds import FanoutRound, Workload
from tests.support.servers import valkey_server

_LOGS = 2000
_RATE = 30
# A rate that a slow machine can deliver too, for figures without a saturated core.
_SLOW_RATE = 4
_KEPT_UP = 0.97
_SLOW = f", {_SLOW_RATE} events/s"


async def measure(box: Box, *, rounds: int) -> Report:
    """Compare the server's CPU per event, with receiving it, with nchan's."""
    logs = [1] * box.some(_LOGS)
    shape, slow = Workload(logs, _RATE, _RATE), Workload(logs, _SLOW_RATE, 2 * _SLOW_RATE)
    async with AsyncExitStack() as stack:
        redis = stack.enter_context(valkey_server(append_only=True))
        field = Field(stack, [])
        mine = await field.start(ours.running(box, redis))
        theirs = await field.start(nchan.running(box))
        writes = await field.start(limit.running(box))
        entries = [
            *entry("limit", writes, shape),
            *entry("nchan", theirs, shape),
            *entry("ours", mine, shape),
            *entry("limit" + _SLOW, writes, slow),
            *entry("nchan" + _SLOW, theirs, slow),
            *entry("ours" + _SLOW, mine, slow),
        ]
        played = await contest(box, entries, rounds=rounds)
    bounds = []
    notes = list(field.notes)
    for suffix, offered in (("", shape), (_SLOW, slow)):
        label, other = "ours" + suffix, "nchan" + suffix
        behind = [name for name in (label, other) if not _keeps_up(played.get(name, ()), offered)]
        if behind and other in played:
            notes.append(
                f"Not compared at {offered.rate} events/s: {' and '.join(behind)} did not keep up"
                f" with {len(logs) * offered.rate:,} events/s."
            )
        elif other in played:
            spread = ratios(us_per_event(played[label]).values, us_per_event(played[other]).values)
            bounds.append(Bound(f"CPU per event, of nchan's{suffix}", spread, 0.65, 0.46))
    return Report(
        tables=[table(played)],
        bounds=bounds,
        plots=[strip("many-logs", "2,000 logs with a reader each: every round", played)],
        notes=notes,
    )


def _keeps_up(rounds: Sequence[FanoutRound], offered: Workload) -> bool:
    """Whether at least this share of what was offered arrived in time, in the median round."""
    if not rounds:
        return True
    per_s = [each.per_s for each in rounds]
    return median(per_s) >= _KEPT_UP * len(offered.readers) * offered.rate
