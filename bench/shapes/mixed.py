"""200 logs with a reader each beside one with 3,000, at 30 events a second each, in one process."""

from contextlib import AsyncExitStack

from bench.box import Box
from bench.contest import Field, contest, entry, p99_ms
from bench.peers import nchan, ours
from bench.released import VERSION, released
from bench.report import Bound, Report, Spread, Strip, Table, ratios
from bench.rounds import Workload
from tests.support.servers import valkey_server

_RATE = 30
_LARGE, _SMALL = 0, 1  # as bench/rounds.py groups them


async def measure(box: Box, *, rounds: int) -> Report:
    """Measure how much a log with many readers delays the others."""
    shape = Workload([box.some(3000)] + [1] * box.some(200), _RATE, box.some(5 * _RATE))
    async with AsyncExitStack() as stack:
        redis = stack.enter_context(valkey_server(append_only=True))
        field = Field(stack, [])
        entries = [
            *entry("nchan", await field.start(nchan.running(box)), shape),
            *entry("ours", await field.start(ours.running(box, redis)), shape),
            *entry(
                VERSION,
                await field.start(ours.running(box, redis, VERSION, make=released(box))),
                shape,
            ),
        ]
        played = await contest(box, entries, rounds=rounds)
    small = {label: p99_ms(each, _SMALL) for label, each in played.items()}
    rows = []
    for label, each in played.items():
        p50 = [
            Spread(tuple(one.loaded.groups[group].p50_ms for one in each))
            for group in (_SMALL, _LARGE)
        ]
        rows.append(
            [
                label,
                *(f"{p50[group != _SMALL]} / {p99_ms(each, group)}" for group in (_SMALL, _LARGE)),
            ]
        )
    return Report(
        tables=[Table(("server", "small logs, p50 / p99 ms", "large log, p50 / p99 ms"), rows)],
        bounds=[
            Bound(
                "p99 of the small logs, of 0.1.0's",
                ratios(small["ours"].values, small[VERSION].values),
                0.25,
            ),
            Bound("p99 of the small logs", small["ours"], None, 5, unit="ms"),
        ],
        plots=[
            Strip(
                "mixed",
                "Small logs beside one with 3,000 readers",
                "p99 of the small logs' delays, ms",
                {label: spread.values for label, spread in small.items()},
            )
        ],
        notes=field.notes,
    )
