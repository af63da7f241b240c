"""What a token and a request cost on the oldest and on the newest Python that the lock allows."""

import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path

from bench.asking import THROUGH, Plan, Running, deployed
from bench.box import Box
from bench.report import Report, Spread, Strip, Table, ratios
from bench.shapes import request as one_request
from bench.shapes import worker
from tests.support.programs import command

_NEWEST = Path(".venv/newest/bin/python")
_NEEDED = f"{_NEWEST} is missing: make VENV=.venv/newest PYTHON=python3.13 .venv/newest/test.stamp"


async def measure(box: Box, *, rounds: int) -> Report:
    """Measure the same programs on the Python of the bench and on that of `.venv/newest`.

    Raises AssertionError if there is no `.venv/newest`.
    """
    assert _NEWEST.exists(), _NEEDED
    async with (
        deployed(box, slots=worker.STREAMS) as mine,
        deployed(box, slots=worker.STREAMS, program=_on_newest) as other,
        worker.ours(mine) as play_mine,
        worker.ours(other) as play_other,
    ):
        costs = {
            _version(command()[0]): _costs(box, mine, play_mine),
            _version(str(_NEWEST)): _costs(box, other, play_other),
        }
        oldest_version, newest_version = costs
        found: dict[tuple[str, str], list[float]] = {}
        for number in range(rounds + 1):
            for version, each in costs.items():
                for unit, cost in each.items():
                    us = await cost()
                    # The first round imports and connects.
                    if number:
                        found.setdefault((unit, version), []).append(us)
    units = list(costs[oldest_version])
    return Report(
        tables=[
            Table(
                ("CPU, us", *costs, "ratio of the second to the first"),
                [
                    [
                        unit,
                        *(str(Spread(tuple(found[unit, version]))) for version in costs),
                        str(ratios(found[unit, newest_version], found[unit, oldest_version])),
                    ]
                    for unit in units
                ],
            )
        ],
        bounds=[],
        plots=[
            Strip(
                "interpreters",
                "A request on two versions of Python: every round",
                "CPU of API and worker, us",
                {version: tuple(found[units[-1], version]) for version in costs},
            )
        ],
        notes=[],
    )


Costs = dict[str, Callable[[], Awaitable[float]]]


def _costs(box: Box, running: Running, play: worker.Play) -> Costs:
    """Each measurement of one deployment, by what costs the us."""

    async def token(plan: Plan) -> float:
        return (await play(plan)).us_per_token

    async def request() -> float:
        used = await one_request.play(box, running, THROUGH)
        return used.api + used.worker

    return {
        "worker, a token at full speed": lambda: token(Plan(box.some(2000))),
        "worker, a token of 100 a second": lambda: token(Plan(box.some(300), 100)),
        "API and worker, a chat completion of one token": request,
    }


def _on_newest(*arguments: str) -> list[str]:
    return [str(_NEWEST.absolute()), *command(*arguments)[1:]]


def _version(python: str) -> str:
    asked = [python, "-c", "import platform; print(platform.python_version())"]
    return f"Python {subprocess.check_output(asked, text=True).strip()}"
