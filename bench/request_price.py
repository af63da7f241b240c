"""The price of a request: `python -m bench.request_price [--beside DIRECTORY]`, under 3 minutes.

Answers of one delta, whose CPU is that of the request itself: of the API (submit and stream) and of
the worker (claim, call, end), one request at a time and eight at a time. Then what the first delta
of an answer takes longer than directly from the upstream, one answer at a time. This tree plays in
turns with release 0.1.0, or with the checkout in DIRECTORY.
"""

import argparse
import asyncio
import sys
from collections import defaultdict
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path

from bench.asking import DIRECT, NATIVE, THROUGH, Plan, Running, ask, deployed
from bench.box import Box, cpu_s, machine, prepared
from bench.released import VERSION, released
from bench.report import Spread, Table, percentile_ms, ratios

_REQUESTS = 120
_AT_ONCE = (1, 8)
_FIRST = Plan(5, 50)
_CALLS = 15
Played = dict[str, dict[str, list[float]]]


async def measure(box: Box, beside: Path | None, rounds: int) -> Table:
    """Play both trees in turns; the last column is the median of the ratios of each round."""
    played: Played = defaultdict(lambda: defaultdict(list))
    async with AsyncExitStack() as stack:
        trees = {
            "other": await stack.enter_async_context(_other(box, beside)),
            "this": await stack.enter_async_context(deployed(box, is_undisturbed=True)),
        }
        for running in trees.values():
            await ask(box, running, NATIVE, Plan(1), at_once=8, each=10)
            await ask(box, running, THROUGH, _FIRST, at_once=1, each=5)
        for number in range(rounds):
            for name in list(trees) if number % 2 else [*reversed(trees)]:
                for figure, value in (await _round(box, trees[name])).items():
                    played[figure][name].append(value)
    return Table(
        ("", str(beside or VERSION), "this tree", "ratio"),
        [
            [
                figure,
                str(Spread(tuple(by["other"]))),
                str(Spread(tuple(by["this"]))),
                str(ratios(by["this"], by["other"])),
            ]
            for figure, by in played.items()
        ],
    )


async def _round(box: Box, running: Running) -> dict[str, float]:
    figures = {}
    for at_once in _AT_ONCE:
        kinds = {"API": [running.api], "worker": running.workers, "Redis": running.redis}
        before = {kind: cpu_s(pids) for kind, pids in kinds.items()}
        await ask(box, running, NATIVE, Plan(1), at_once=at_once, each=_REQUESTS // at_once)
        for kind, pids in kinds.items():
            used_us = (cpu_s(pids) - before[kind]) / _REQUESTS * 1e6
            figures[f"{kind}, CPU of a request, {at_once} at a time, us"] = used_us
    firsts = {}
    for way in (DIRECT, THROUGH):
        asked = await ask(box, running, way, _FIRST, at_once=1, each=_CALLS)
        firsts[way] = percentile_ms(asked.first_us, 0.5)
    figures["added to the first delta, p50, ms"] = firsts[THROUGH] - firsts[DIRECT]
    return figures


def _other(box: Box, beside: Path | None) -> AbstractAsyncContextManager[Running]:
    if beside is None:
        return deployed(box, is_undisturbed=True, make=released(box))
    return deployed(box, is_undisturbed=True, program=_program(beside))


def _program(tree: Path) -> Callable[..., list[str]]:
    """The command line of the `tickertape` of another checkout, with the packages of this one."""
    return lambda *arguments: [
        "env", f"PYTHONPATH={tree}", sys.executable, "-m", "tickertape.cli.main", *arguments
    ]  # fmt: skip


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--beside", type=Path, metavar="DIRECTORY")
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    with prepared() as box:
        table = asyncio.run(measure(box, arguments.beside, arguments.rounds))
    print(f"{arguments.rounds} rounds on {machine()}\n\n{table}")


if __name__ == "__main__":
    main()
