"""One log, many readers: 1,000 x 50 events a second, each event written by itself."""

from contextlib import AsyncExitStack

from bench.box import Box
from bench.contest import Field, contest, entry, strip, table, us_per_event
from bench.peers import limit, nchan, obvious, ours, resumable_stream
from bench.released import CROWD_MUST, VERSION, released
from bench.report import Bound, Report, ratios
from bench.rounds import Workload
from tests.support.servers import valkey_server

_RATE = 50
_READERS = 1000
# The readers that the obvious version can serve; Tickertape is measured with as few too.
_FEW = 50
_OF_FEW = f", {_FEW} readers"


async def measure(box: Box, *, rounds: int) -> Report:
    """Compare CPU per delivered event with the write limit, nchan and the obvious version."""
    events = box.some(100)
    many, few = Workload([box.some(_READERS)], _RATE, events), Workload([_FEW], _RATE, events)
    async with AsyncExitStack() as stack:
        redis = stack.enter_context(valkey_server(append_only=True))
        field = Field(stack, [])
        ours_running = await field.start(ours.running(box, redis, TICKERTAPE_COALESCE_MS="0"))
        old = ours.running(box, redis, VERSION, make=released(box), TICKERTAPE_COALESCE_MS="0")
        limit_running = await field.start(limit.running(box))
        entries = [
            *entry("limit", limit_running, many),
            *entry("nchan", await field.start(nchan.running(box)), many),
            *entry("ours", ours_running, many),
            *entry(VERSION, await field.start(old), many),
            *entry("obvious" + _OF_FEW, await field.start(obvious.running(box, redis)), few),
            *entry(
                "resumable-stream" + _OF_FEW,
                await field.start(resumable_stream.running(box, redis)),
                few,
            ),
            *entry("ours" + _OF_FEW, ours_running, few),
            *entry("limit" + _OF_FEW, limit_running, few),
        ]
        played = await contest(box, entries, rounds=rounds, redis_pids=[redis.process.pid])
    cost = {label: us_per_event(each).values for label, each in played.items()}
    bounds = [
        Bound("CPU per event, of the limit's", ratios(cost["ours"], cost["limit"]), 2.0, 1.5),
        Bound("CPU per event, of 0.1.0's", ratios(cost["ours"], cost[VERSION]), CROWD_MUST),
    ]
    if "nchan" in cost:
        spread = ratios(cost["ours"], cost["nchan"])
        bounds.append(Bound("CPU per event, of nchan's", spread, 1.0, 0.65))
    fewer = ratios(cost["obvious" + _OF_FEW], cost["ours" + _OF_FEW])
    bounds.append(Bound("the obvious version's CPU, of Tickertape's", fewer, 15, at_least=True))
    return Report(
        tables=[table(played)],
        bounds=bounds,
        plots=[strip("hot", "One log, 50 events/s, no coalescing: every round", played)],
        notes=field.notes,
    )
