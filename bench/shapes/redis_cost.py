"""The cost of a token in Redis: fenced append, entry and push, with a reader on every log."""

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack

from bench.box import Box
from bench.contest import Entry, contest, p99_ms, us_per_event
from bench.peers import ours
from bench.released import VERSION, append_script, released
from bench.report import Bound, Report, Spread, Strip, Table, ratios
from bench.rounds import FanoutRound, Workload
from tests.support.servers import valkey_server

_FEW, _MANY = 1000, 5000
# Few enough that Redis, the source and the readers fit on one core of a slow machine.
_TOKENS_PER_S = 5000
_BUSY, _BUSY_TOKENS_PER_S = 200, 20_000

Played = Mapping[str, Sequence[FanoutRound]]


async def measure(box: Box, *, rounds: int) -> Report:
    """Measure CPU of Redis per token, by tokens per call, logs and API processes."""
    few, many, busy = box.some(_FEW), box.some(_MANY), box.some(_BUSY)
    length_s = 1 if box.is_quick else 2

    def shape(logs: int, tokens_per_s: int, group: int = 1) -> Workload:
        rate = tokens_per_s // logs
        return Workload([1] * logs, rate, max(1, rate * length_s // group) * group, group)

    async with AsyncExitStack() as stack:
        redis = stack.enter_context(valkey_server(append_only=True))
        one = await stack.enter_async_context(ours.running(box, redis, "ours-1"))
        four = await stack.enter_async_context(ours.running(box, redis, "ours-4", processes=4))
        old = await stack.enter_async_context(
            ours.running(box, redis, VERSION, make=released(box), append=append_script(box))
        )
        entries = [
            Entry("1,000 logs", one, shape(few, _TOKENS_PER_S)),
            Entry(f"1,000 logs, {VERSION}", old, shape(few, _TOKENS_PER_S)),
            Entry("5,000 logs", one, shape(many, _TOKENS_PER_S)),
            Entry("1,000 logs, 4 API processes", four, shape(few, _TOKENS_PER_S)),
            Entry("200 logs, 20,000 tokens/s", one, shape(busy, _BUSY_TOKENS_PER_S)),
            Entry(f"200 logs, 20,000 tokens/s, {VERSION}", old, shape(busy, _BUSY_TOKENS_PER_S)),
            Entry(
                "200 logs, 20,000 tokens/s, four a call", one, shape(busy, _BUSY_TOKENS_PER_S, 4)
            ),
        ]
        played = await contest(box, entries, rounds=rounds, redis_pids=[redis.process.pid])
    return Report(
        tables=[_table(played)],
        bounds=_bounds({label: _us(each) for label, each in played.items()}),
        plots=[
            Strip(
                "redis-cost",
                "What Redis pays for a token: every round",
                "CPU of Redis for a token, us",
                {label: _us(each).values for label, each in played.items()},
            )
        ],
    )


def _bounds(cost: Mapping[str, Spread]) -> list[Bound]:
    base = cost["1,000 logs"].values
    busy = cost["200 logs, 20,000 tokens/s"]
    grouped = cost["200 logs, 20,000 tokens/s, four a call"]
    return [
        *(
            Bound(
                f"one delta a call, {label}, of 0.1.0's",
                ratios(cost[label].values, cost[f"{label}, {VERSION}"].values),
                0.7,
                0.5,
            )
            for label in ("1,000 logs", "200 logs, 20,000 tokens/s")
        ),
        Bound("5,000 logs, of 1,000's", ratios(cost["5,000 logs"].values, base), 1.2),
        Bound(
            "4 API processes, of 1's",
            ratios(cost["1,000 logs, 4 API processes"].values, base),
            1.2,
        ),
        Bound("one delta a call", busy, 7, unit="us"),
        Bound("four deltas a call", grouped, 3.5, unit="us"),
    ]


def _us(rounds: Sequence[FanoutRound]) -> Spread:
    return Spread(tuple(each.redis_us_per_event for each in rounds))


def _table(played: Played) -> Table:
    rows = [
        [label, str(_us(each)), str(us_per_event(each)), str(p99_ms(each))]
        for label, each in played.items()
    ]
    columns = ("5,000 tokens/s in", "Redis CPU per token, us", "API CPU, us", "delay p99, ms")
    return Table(columns, rows)
