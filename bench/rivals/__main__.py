"""`python -m bench.rivals` measures other ways to the same page beside Tickertape; `make rivals`.

Each system streams from the same compiled upstream, which is paced, through a Redis of its own. All
processes of a system share one core. Redis, the upstream and the readers share the other one.
"""

import argparse
import asyncio
import statistics
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial

from bench.asking import Plan, upstream
from bench.box import Box, machine, prepared
from bench.peers.peer import Absent
from bench.report import Table, short
from bench.rivals.agent_os import agent_os
from bench.rivals.death import PLAN, Seen, death_of
from bench.rivals.obvious import obvious
from bench.rivals.ours import ours
from bench.rivals.price import Load, Price, Server, price_of
from bench.rivals.resumable import resumable
from bench.rivals.rival import Rival
from tests.support.servers import valkey_server

Start = Callable[[Box, str, str], AbstractAsyncContextManager[Rival]]

_SYSTEMS: dict[str, Start] = {
    "tickertape": ours,
    "obvious": obvious,
    "resumable-stream": resumable,
    "agno": agent_os,
}
# Only the death of a process tells this one from the one above.
_RETRIES: dict[str, Start] = {"agno": partial(agent_os, attempts=2)}
_PLAN = Plan(400, 50)
_FEW, _MANY = Load(10, 1, _PLAN), Load(10, 11, _PLAN)


async def _priced(box: Box, start: Start, load: Load) -> Price:
    with valkey_server(append_only=True) as redis, upstream(box) as upstream_url:
        async with start(box, redis.url, upstream_url) as rival:
            server = Server(redis.url, redis.process.pid)
            await price_of(rival, server, Load(2, 1, Plan(20, 50)))  # first-use costs
            return await price_of(rival, server, load)


async def _killed(box: Box, start: Start) -> tuple[str, Seen]:
    with valkey_server(append_only=True) as redis, upstream(box) as upstream_url:
        async with start(box, redis.url, upstream_url) as rival:
            return rival.name, await death_of(rival)


def _prices(played: dict[str, dict[Load, list[Price]]]) -> Table:
    rows = []
    for name, loads in played.items():
        few, many = (
            {field: statistics.median(getattr(each, field) for each in loads[load])
             for field in Price.__dataclass_fields__}
            for load in (_FEW, _MANY)
        )  # fmt: skip
        more = _MANY.readers - _FEW.readers
        per_reader = {field: (many[field] - few[field]) / more for field in few}
        faulty = sum(each.faulty for of in loads.values() for each in of)
        checked = sum(load.answers * len(of) for load, of in loads.items())
        rows.append(
            [
                name,
                f"{short(few['cpu_us'])} / {short(few['redis_us'])}",
                f"{short(per_reader['cpu_us'])} / {short(per_reader['redis_us'])}",
                f"{short(few['trips'])} / {short(per_reader['trips'])}",
                short(per_reader["connections"] / _FEW.answers),
                f"{short(few['p50_ms'])} / {short(few['p99_ms'])}",
                f"{faulty} of {checked}",
            ]
        )
    return Table(
        (
            "system",
            "CPU of a token with one reader, us: system / Redis",
            "and of each reader more",
            "trips to Redis: of a token / of each reader more",
            "connections to Redis of each reader more",
            "delay p50 / p99, ms",
            "texts with a token lost or twice",
        ),
        rows,
    )


def _deaths(seen: dict[str, Seen]) -> Table:
    return Table(
        ("system", "a reader has", "the next thing it got after", "the end after"),
        [
            [name, each.words, *(_s(value) for value in (each.next_s, each.ended_s))]
            for name, each in seen.items()
        ],
    )


def _say(step: str) -> None:
    # The tables come at the end, after ten minutes.
    print(step, file=sys.stderr, flush=True)


def _s(seconds: float | None) -> str:
    return "never (90 s)" if seconds is None else f"{seconds:.1f} s"


async def _measure(box: Box, names: list[str], rounds: int) -> None:
    played: dict[str, dict[Load, list[Price]]] = {}
    seen: dict[str, Seen] = {}
    for number in range(rounds):
        for name in [*names[number % len(names) :], *names[: number % len(names)]]:
            _say(f"round {number + 1} of {rounds}: {name}")
            try:
                for load in (_FEW, _MANY):
                    price = await _priced(box, _SYSTEMS[name], load)
                    played.setdefault(name, {}).setdefault(load, []).append(price)
            except Absent as absent:
                print(f"Skipped: {name}: {absent}")
    for name in played:
        for start in (_SYSTEMS[name], _RETRIES.get(name)):
            if start is not None:
                _say(f"killed in the middle: {name}")
                label, outcome = await _killed(box, start)
                seen[label] = outcome
    print(f"{machine()}; medians of {rounds} rounds.\n")
    print(f"{_FEW.answers} answers of {_PLAN.deltas} tokens, {_PLAN.rate_per_s:g} a second each:\n")
    print(_prices({name: played[name] for name in names if name in played}))
    print(f"\nKilled in the middle of an answer of {PLAN.deltas} tokens:\n\n{_deaths(seen)}")


def main() -> None:
    """Measure, and print two tables."""
    parser = argparse.ArgumentParser(prog="python -m bench.rivals", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=list(_SYSTEMS), default=list(_SYSTEMS))
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    with prepared() as box:
        asyncio.run(_measure(box, given.only, given.rounds))


if __name__ == "__main__":
    main()
