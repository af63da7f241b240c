"""`python -m tests.chaos.figures [name ...]`: the figures of docs/guarantees.md, measured here."""

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

import uvloop

from tests.chaos.figures.callers import Callers, callers
from tests.chaos.figures.cancels import measure_cancels
from tests.chaos.figures.memory import measure_memory
from tests.chaos.figures.shutdown import measure_shutdown
from tests.chaos.figures.submits import measure_submits
from tests.chaos.figures.takeovers import measure_takeovers
from tests.chaos.members import preload
from tests.chaos.system import running_system

_MEASURES: dict[str, Callable[[Callers], Awaitable[list[str]]]] = {
    "takeovers": measure_takeovers,
    "cancels": measure_cancels,
    "shutdown": measure_shutdown,
    "submits": measure_submits,
    "memory": measure_memory,
}


async def measure(names: list[str]) -> None:
    """Measure one after the other, each on a system of its own."""
    for name in names:
        with tempfile.TemporaryDirectory(prefix="figures-") as directory:
            async with (
                running_system(Path(directory)) as system,
                callers(system) as calling,
            ):
                for line in await _MEASURES[name](calling):
                    print(f"{name}: {line}", flush=True)


def main() -> int:
    """Print the figures that were asked for, all of them by default."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.figures", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*_MEASURES, []], metavar="name")
    given = parser.parse_args()
    preload()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(measure(given.names or list(_MEASURES)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
