"""Cost per delivered event as work grows: readers of one log, live logs, API processes."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack

from bench.box import Box
from bench.contest import Entry, Field, contest, us_per_event
from bench.peers import limit, nchan, ours
from bench.peers.peer import Peer
from bench.report import Bound, Plot, Report, Spread, Table, ratios
from bench.rounds import Workload
from tests.support.servers import valkey_server

_READERS = (1, 10, 100, 1000, 3000, 10_000)
_LOGS = (1, 10, 100, 1000, 2000, 5000)
_PROCESSES = (1, 2, 4)
_QUICK_POINTS = 2
# Events per second in each log, few enough that no point of a curve uses a whole core.
_RATE_OF_READERS = 5
_RATE_OF_LOGS = 2
_LENGTH_S = 4
_LOGS_OF_PROCESSES = 1000
# From here on, a process has so much work that many events share the cost of waking it.
_FLAT_FROM = 1000
_FLAT = 1.5

# The cost at each x, of each server.
Curves = dict[str, dict[int, Spread]]


async def measure(box: Box, *, rounds: int) -> Report:
    """Measure three sets of curves, which must not rise while no core is saturated."""
    # A quick run stops before rounds take more than a second.
    points = _QUICK_POINTS if box.is_quick else None
    async with AsyncExitStack() as stack:
        redis = stack.enter_context(valkey_server(append_only=True))
        field = Field(stack, [])
        apis = [
            await stack.enter_async_context(
                ours.running(
                    box, redis, f"ours-{count}", processes=count, TICKERTAPE_COALESCE_MS="0"
                )
            )
            for count in _PROCESSES
        ]
        peers: Mapping[str, Peer | None] = {
            "limit": await field.start(limit.running(box)),
            "nchan": await field.start(nchan.running(box)),
            "ours": apis[0],
        }
        many = {name: peer for name, peer in peers.items() if peer is not None}
        by_readers = await _curves(
            box, many, _READERS[:points], rounds, _RATE_OF_READERS, lambda count: [count]
        )
        by_logs = await _curves(
            box, many, _LOGS[:points], rounds, _RATE_OF_LOGS, lambda count: [1] * count
        )
        by_processes, logs = {}, box.some(_LOGS_OF_PROCESSES)
        for count, api in zip(_PROCESSES, apis, strict=True):
            # Each is one point of a curve, because each is a separate server.
            got = await _curves(
                box, {"ours": api}, [count], rounds, _RATE_OF_LOGS, lambda _: [1] * logs
            )
            by_processes.update(got["ours"])
    return _report(by_readers, by_logs, {"ours": by_processes}, field.notes)


async def _curves(
    box: Box,
    peers: Mapping[str, Peer],
    counts: Sequence[int],
    rounds: int,
    rate: float,
    readers: Callable[[int], list[int]],
) -> Curves:
    events = int(rate * (1 if box.is_quick else _LENGTH_S))
    entries = [
        Entry(
            f"{name} {count}",
            peer,
            # A small machine may deliver the last points late. Only the cost counts here.
            Workload(readers(count), rate, events, may_fall_behind=True),
        )
        for count in counts
        for name, peer in peers.items()
    ]
    played = await contest(box, entries, rounds=rounds)
    return {
        name: {count: us_per_event(played[f"{name} {count}"]) for count in counts} for name in peers
    }


def _report(by_readers: Curves, by_logs: Curves, by_processes: Curves, notes: list[str]) -> Report:
    axes = (
        ("curve-readers", f"readers of one log, {_RATE_OF_READERS} events/s", by_readers),
        ("curve-logs", f"logs with a reader each, {_RATE_OF_LOGS} events/s", by_logs),
        ("curve-processes", "API processes on one core, 1,000 logs", by_processes),
    )
    bounds = [
        *_flat("of {:,} readers, of 1,000's", by_readers["ours"], _FLAT_FROM),
        *_flat("of {:,} logs, of 1,000's", by_logs["ours"], _FLAT_FROM),
        *_flat("of {} processes, of 1's", by_processes["ours"], 1),
    ]
    return Report(
        tables=[_table(what, curves) for _, what, curves in axes],
        bounds=bounds,
        plots=[
            Plot(
                name,
                "Cost of a delivered event",
                what,
                "server CPU, us",
                {
                    server: [(count, spread.median) for count, spread in curve.items()]
                    for server, curve in curves.items()
                },
            )
            for name, what, curves in axes
        ],
        notes=notes,
    )


def _flat(what: str, curve: Mapping[int, Spread], base: int) -> list[Bound]:
    """The ratio of the last point to that of `base`, if both were measured."""
    last = max(curve)
    if base not in curve or last == base:
        return []
    spread = ratios(curve[last].values, curve[base].values)
    return [Bound("CPU per event " + what.format(last), spread, _FLAT)]


def _table(what: str, curves: Curves) -> Table:
    counts = list(next(iter(curves.values())))
    rows = [
        [f"{server}: CPU per event, us", *(str(curve[count]) for count in counts)]
        for server, curve in curves.items()
    ]
    return Table([what, *(f"{count:,}" for count in counts)], rows)
