"""One log, 5,000 readers x 100 events a second: more than one write per event can deliver."""

from contextlib import AsyncExitStack
from dataclasses import replace

from bench.box import Box
from bench.contest import Field, contest, entry, p99_ms, per_s, table, us_per_event
from bench.peers import nchan, ours
from bench.released import CROWD_MUST, VERSION, released
from bench.report import Bound, Report, Spread, Strip, ratios
from bench.rounds import Workload
from tests.support.servers import valkey_server

_RATE = 100
_READERS = 5000


async def measure(box: Box, *, rounds: int) -> Report:
    """Measure whether one core delivers every event, and the delays."""
    shape = Workload([box.some(_READERS)], _RATE, box.some(3 * _RATE))
    async with AsyncExitStack() as stack:
        redis = stack.enter_context(valkey_server(append_only=True))
        field = Field(stack, [])
        # At this rate, events that are not delivered after a second never are.
        behind = replace(shape, grace_s=1, may_fall_behind=True)
        entries = [
            *entry("nchan", await field.start(nchan.running(box)), behind),
            *entry("ours", await field.start(ours.running(box, redis)), shape),
            *entry(
                VERSION,
                await field.start(ours.running(box, redis, VERSION, make=released(box))),
                behind,
            ),
        ]
        played = await contest(box, entries, rounds=rounds)
    mine = played["ours"]
    delivered = Spread(tuple(100 * each.loaded.events / each.loaded.expected for each in mine))
    bounds = [
        Bound("delivered", delivered, 100, unit="%", at_least=True),
        Bound("delay p99", p99_ms(mine), 120, 60, unit="ms"),
        Bound("of a core", Spread(tuple(each.cores for each in mine)), 1.0, 0.8, unit="cores"),
    ]
    cost = {label: us_per_event(each).values for label, each in played.items()}
    bounds.append(
        Bound("CPU per event, of 0.1.0's", ratios(cost["ours"], cost[VERSION]), CROWD_MUST)
    )
    if "nchan" in played:
        spread = ratios(per_s(mine).values, per_s(played["nchan"]).values)
        bounds.append(Bound("events/s, of nchan's", spread, 3, at_least=True))
    rates = {label: per_s(each).values for label, each in played.items()}
    return Report(
        tables=[table(played)],
        bounds=bounds,
        plots=[
            Strip("overload", "500,000 events/s offered to one core", "events/s delivered", rates)
        ],
        notes=field.notes,
        headline=(
            f"**{sum(shape.readers):,} readers of one answer** of {_RATE} tokens a second need"
            f" one core of the API, which delivers {per_s(mine).median:,.0f} events a second. The"
            f" p99 of an event's delay is {p99_ms(mine).median:.0f} ms."
        ),
    )
