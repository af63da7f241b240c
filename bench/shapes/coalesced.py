"""One log, 1,000 readers x 100 events a second, with at most one write per 33 ms and reader."""

from contextlib import AsyncExitStack

from bench.box import Box
from bench.contest import Field, contest, entry, p99_ms, strip, table, us_per_event
from bench.peers import limit, nchan, ours
from bench.released import CROWD_MUST, VERSION, released
from bench.report import Bound, Report, ratios
from bench.rounds import Workload
from tests.support.servers import valkey_server

_RATE = 100
_READERS = 1000


async def measure(box: Box, *, rounds: int) -> Report:
    """The CPU that fewer writes save, and the delay that they add."""
    shape = Workload([box.some(_READERS)], _RATE, box.some(3 * _RATE))
    async with AsyncExitStack() as stack:
        redis = stack.enter_context(valkey_server(append_only=True))
        field = Field(stack, [])
        entries = [
            *entry("limit", await field.start(limit.running(box)), shape),
            *entry("nchan", await field.start(nchan.running(box)), shape),
        ]
        for wait_ms in (0, 16, 33):
            label = f"ours, {wait_ms} ms"
            running = ours.running(box, redis, label, TICKERTAPE_COALESCE_MS=str(wait_ms))
            entries += entry(label, await field.start(running), shape)
        released_label = f"{VERSION}, 33 ms"
        old = ours.running(
            box, redis, released_label, make=released(box), TICKERTAPE_COALESCE_MS="33"
        )
        entries += entry(released_label, await field.start(old), shape)
        played = await contest(box, entries, rounds=rounds)
    cost = {label: us_per_event(each).values for label, each in played.items()}
    bounds = [
        Bound("delay p99 at 33 ms", p99_ms(played["ours, 33 ms"]), 40, unit="ms"),
        Bound(
            "CPU per event at 33 ms, of 0.1.0's",
            ratios(cost["ours, 33 ms"], cost[released_label]),
            CROWD_MUST,
        ),
    ]
    if "nchan" in cost:
        spread = ratios(cost["ours, 33 ms"], cost["nchan"])
        bounds.insert(0, Bound("CPU per event at 33 ms, of nchan's", spread, 0.4, 0.3))
    return Report(
        tables=[table(played)],
        bounds=bounds,
        plots=[strip("coalesced", "One log, 100 events/s: every round", played)],
        notes=field.notes,
    )
