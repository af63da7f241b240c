"""`python -m bench`: measures every shape, and writes docs/performance.md with its plots.

`--quick` measures one shape of each kind for a few seconds, a minute in total, and only prints the
reports: its figures are too short to be reliable.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from bench import document
from bench.box import Box, TooFewCores, machine, prepared
from bench.compiled import NoCompiler
from bench.report import Report
from bench.rounds import Incorrect
from bench.shapes import (
    coalesced,
    concurrency,
    curves,
    finished,
    generations,
    hop,
    hot,
    idle,
    interpreters,
    many_logs,
    metrics,
    mixed,
    overload,
    page,
    parse,
    reading,
    redis_cost,
    replay,
    request,
    scaling,
    users,
    worker,
    workers,
)
from bench.source import SourceFailed


class Measure(Protocol):
    """The function that every module of a shape has."""

    def __call__(self, box: Box, *, rounds: int) -> Awaitable[Report]: ...


@dataclass(frozen=True)
class Shape:
    """A measurement, its number of rounds, and whether `--quick` includes it (with one round).

    `is_compared`: the shape has a bound of the release that plays beside this tree, or belongs
    to these by its subject.
    """

    measure: Measure
    rounds: int
    is_quick: bool = False
    is_compared: bool = False


SHAPES = {
    "users": Shape(users.measure, 2, is_compared=True),
    "reading": Shape(reading.measure, 5, is_compared=True),
    "worker": Shape(worker.measure, 5, is_quick=True, is_compared=True),
    "generations": Shape(generations.measure, 3, is_compared=True),
    "hop": Shape(hop.measure, 4, is_quick=True, is_compared=True),
    "request": Shape(request.measure, 5, is_compared=True),
    "many-logs": Shape(many_logs.measure, 5, is_compared=True),
    "mixed": Shape(mixed.measure, 5, is_compared=True),
    "redis-cost": Shape(redis_cost.measure, 5, is_compared=True),
    "hot": Shape(hot.measure, 5, is_quick=True, is_compared=True),
    "coalesced": Shape(coalesced.measure, 5, is_compared=True),
    "overload": Shape(overload.measure, 5, is_quick=True, is_compared=True),
    "replay": Shape(replay.measure, 5, is_quick=True, is_compared=True),
    "idle": Shape(idle.measure, 3, is_quick=True, is_compared=True),
    "curves": Shape(curves.measure, 3),
    "parse": Shape(parse.measure, 5, is_quick=True),
    "concurrency": Shape(concurrency.measure, 5),
    "page": Shape(page.measure, 3),
    "metrics": Shape(metrics.measure, 12),
    "workers": Shape(workers.measure, 5),
    "finished": Shape(finished.measure, 5),
    "interpreters": Shape(interpreters.measure, 5),
    "scaling": Shape(scaling.measure, 3),
}


def main() -> int:
    """Measure and report. Returns 1 if the machine cannot, or if a reader missed an event."""
    arguments, failed = _arguments(), []
    try:
        with prepared(is_quick=arguments.quick) as box:
            for name in arguments.only or _chosen(arguments):
                try:
                    report = _play(box, name, arguments.rounds)
                except (Incorrect, SourceFailed, AssertionError, TimeoutError) as error:
                    # The other shapes still count.
                    failed.append(f"{name}: {error!r}")
                    continue
                # Each report is written at once, so that a later failure does not lose it.
                if not arguments.quick:
                    document.write({name: report})
    except (TooFewCores, NoCompiler) as error:
        failed.append(str(error))
    print(*failed, sep="\n", file=sys.stderr, end="\n" if failed else "")
    return 1 if failed else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round of some shapes")
    parser.add_argument(
        "--compared", action="store_true", help="the shapes with bounds of release 0.1.0"
    )
    parser.add_argument("--rounds", type=int, metavar="N", help="rounds of each shape")
    parser.add_argument(
        "--only", nargs="+", choices=SHAPES, metavar="SHAPE", help=", ".join(SHAPES),
    )  # fmt: skip
    return parser.parse_args()


def _chosen(arguments: argparse.Namespace) -> list[str]:
    if arguments.compared:
        return [name for name, shape in SHAPES.items() if shape.is_compared]
    return [name for name, shape in SHAPES.items() if shape.is_quick or not arguments.quick]


def _play(box: Box, name: str, rounds: int | None) -> Report:
    shape = SHAPES[name]
    rounds = rounds or (1 if box.is_quick else shape.rounds)
    began_s = time.monotonic()
    report = asyncio.run(_measured(shape.measure, box, rounds))
    took_s = time.monotonic() - began_s
    print(
        f"\n## {name}: {rounds} rounds in {took_s:.0f} s on {machine()}\n\n{report}\n", flush=True
    )
    return report


async def _measured(measure: Callable[..., Awaitable[Report]], box: Box, rounds: int) -> Report:
    return await measure(box, rounds=rounds)


if __name__ == "__main__":
    sys.exit(main())
