"""Many logs, one reader each: 2,000 x 30 events a second, and what Redis pays for a token."""

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack

from bench.box import Box
from bench.contest import Entry, Field, contest, entry, p99_ms, strip, table, us_per_event
from bench.peers import nchan, ours
from bench.peers.ours import Ours
from bench.report import Bound, Report, Spread, Strip, Table, ratios
from bench.rounds import Round, Shape
from tests.support.servers import valkey_server

_LOGS, _RATE = 2000, 30
# What a slow machine carries too, so that there are figures that are not those of a full core.
_SLOW_RATE = 4
_SLOW = f", {_SLOW_RATE} events/s"
_GROUPED = "ours, four deltas a call"
# For what Redis pays: the same tokens a second, in few logs and in many.
_TOKENS_PER_S = 5_000
_FEW, _MANY = 1000, 5000

Played = Mapping[str, Sequence[Round]]


async def measure(box: Box, *, rounds: int) -> Report:
    """The server's CPU against nchan's, and whether Redis' stays flat."""
    length_s = 1 if box.is_quick else 2
    shape = Shape([1] * _LOGS, _RATE, _RATE)
    slow = Shape([1] * _LOGS, _SLOW_RATE, _SLOW_RATE * length_s)
    # A whole number of calls.
    grouped = Shape([1] * _LOGS, _RATE, _RATE // 4 * 4, group=4)
    async with AsyncExitStack() as stack:
        redis = stack.enter_context(valkey_server(append_only=True))
        field = Field(stack, [])
        one = await stack.enter_async_context(ours.running(box, redis))
        four = await stack.enter_async_context(ours.running(box, redis, "ours-4", processes=4))
        nchan_running = await field.start(nchan.running(box))
        entries = [
            *entry("nchan", nchan_running, shape),
            Entry("ours", one, shape),
            Entry(_GROUPED, one, grouped),
            *entry("nchan" + _SLOW, nchan_running, slow),
            Entry("ours" + _SLOW, one, slow),
        ]
        pids = [redis.process.pid]
        played = await contest(box, entries, rounds=rounds, redis_pids=pids)
        spread_out = _spread_out({1: one, 4: four}, length_s)
        flat = await contest(box, spread_out, rounds=rounds, redis_pids=pids)
    return Report(
        tables=[table(played), _redis_table(flat)],
        bounds=[*_bounds(played), *_flat_bounds(flat)],
        plots=[
            strip("many-logs", "2,000 logs with a reader each: every round", played),
            Strip(
                "redis-flat",
                "5,000 tokens/s in few and many logs: every round",
                "CPU of Redis for a token, us",
                {label: _redis_us(each).values for label, each in flat.items()},
            ),
        ],
        notes=field.notes,
    )


def _label(logs: int, processes: int) -> str:
    return f"{logs:,} logs, {processes} API process{'es' if processes > 1 else ''}"


def _spread_out(apis: Mapping[int, Ours], length_s: int) -> list[Entry]:
    entries = []
    for logs in (_FEW, _MANY):
        rate = _TOKENS_PER_S // logs
        shape = Shape([1] * logs, rate, rate * length_s)
        entries += [Entry(_label(logs, count), api, shape) for count, api in apis.items()]
    return entries


def _bounds(played: Played) -> list[Bound]:
    bounds = []
    for suffix in ("", _SLOW):
        mine, theirs = played["ours" + suffix], played.get("nchan" + suffix)
        if theirs is not None:
            spread = ratios(us_per_event(mine).values, us_per_event(theirs).values)
            bounds.append(Bound(f"CPU per event, of nchan's{suffix}", spread, 0.65, 0.46))
        bounds.append(Bound(f"delay p99{suffix}", p99_ms(mine), 2, unit="ms"))
    return [
        *bounds,
        Bound("Redis CPU per token, one delta a call", _redis_us(played["ours"]), 7, unit="us"),
        Bound("Redis CPU per token, four a call", _redis_us(played[_GROUPED]), 3.5, unit="us"),
    ]


def _flat_bounds(flat: Played) -> list[Bound]:
    base = _redis_us(flat[_label(_FEW, 1)]).values
    others = ((_MANY, 1, "5,000 logs, of 1,000's"), (_FEW, 4, "4 API processes, of 1's"))
    return [
        Bound(
            f"Redis CPU per token, {what}", ratios(_redis_us(flat[_label(*at)]).values, base), 1.2
        )
        for *at, what in others
    ]


def _redis_us(rounds: Sequence[Round]) -> Spread:
    return Spread(tuple(each.redis_us_per_event for each in rounds))


def _redis_table(flat: Played) -> Table:
    rows = [
        [label, str(_redis_us(each)), str(us_per_event(each)), str(p99_ms(each))]
        for label, each in flat.items()
    ]
    columns = ("5,000 tokens/s in", "Redis CPU, us", "API CPU, us", "delay p99, ms")
    return Table(columns, rows)
