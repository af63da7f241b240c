"""A whole worker process with 32 answers, beside release 0.1.0's and the obvious worker.

No client reads during the measurement, so that only the upstream, Redis and the worker use CPU.
Afterwards every log is checked for every delta.
"""

import asyncio
import contextlib
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

from bench.asking import Plan, Running, check_text, deployed
from bench.box import Box, cpu_s
from bench.released import VERSION, released
from bench.report import Bound, Report, Spread, Strip, Table, ratios, short
from tests.support.given_settings import GivenSettings
from tests.support.keyspace import KEYS
from tests.support.rig import open_rig
from tickertape.broker.connections import Connections
from tickertape.broker.fold import fold

STREAMS = 32
_POLL_S = 0.005


@dataclass(frozen=True)
class WorkerRound:
    """The cost of the tokens of one round."""

    us_per_token: float
    tokens_per_s: float
    redis_us_per_token: float


Play = Callable[[Plan], Awaitable[WorkerRound]]


async def measure(box: Box, *, rounds: int) -> Report:
    """Measure CPU per token of both workers, at full speed and paced."""
    share = 4 if box.is_quick else 1
    paced = Plan(300 // share, 100)
    shapes = {
        "ours": Plan(2000 // share),
        VERSION: Plan(2000 // share),
        "obvious": Plan(300 // share),
        "ours, paced": paced,
        f"{VERSION}, paced": paced,
    }
    played: dict[str, list[WorkerRound]] = {label: [] for label in shapes}
    async with (
        deployed(box, slots=STREAMS, api_beside_workers=False) as running,
        deployed(box, slots=STREAMS, api_beside_workers=False, make=released(box)) as other,
        ours(running) as play_ours,
        ours(other) as play_released,
        obvious(box, running) as play_obvious,
    ):
        plays = {"ours": play_ours, VERSION: play_released, "obvious": play_obvious}
        for play in plays.values():
            await play(Plan(20))
        for _ in range(rounds):
            for label, plan in shapes.items():
                played[label].append(await plays[label.partition(",")[0]](plan))
    costs = {label: _spread(each, lambda one: one.us_per_token) for label, each in played.items()}
    rows = [
        [
            label,
            str(costs[label]),
            str(_spread(each, lambda one: one.tokens_per_s)),
            short(_spread(each, lambda one: one.redis_us_per_token).median),
        ]
        for label, each in played.items()
    ]
    note = (
        "The figures include the cost of the request, spread over"
        f" {shapes['ours'].deltas:,} tokens for Tickertape and {shapes['obvious'].deltas} for the"
        " obvious worker, which has no leases, no fence and no retries. `paced` sends"
        f" {paced.rate_per_s:g} tokens a second in each answer, so that every token is read,"
        " appended and acknowledged separately."
    )
    return Report(
        tables=[Table(("worker", "CPU per token, us", "tokens/s", "Redis per token, us"), rows)],
        bounds=[
            Bound("CPU per token of a whole worker", costs["ours"], 20, 12, unit="us"),
            Bound(
                "CPU per token, paced, of 0.1.0's",
                ratios(costs["ours, paced"].values, costs[f"{VERSION}, paced"].values),
                0.5,
                0.4,
            ),
            Bound(
                "CPU per token, of 0.1.0's",
                ratios(costs["ours"].values, costs[VERSION].values),
                1,
            ),
            Bound(
                "the obvious worker's CPU, of Tickertape's",
                ratios(costs["obvious"].values, costs["ours"].values),
                5,
                at_least=True,
            ),
        ],
        plots=[
            Strip(
                "worker",
                "A whole worker, 32 answers: every round",
                "CPU per token, us",
                {label: spread.values for label, spread in costs.items()},
            )
        ],
        notes=[note],
    )


@contextlib.asynccontextmanager
async def ours(running: Running) -> AsyncIterator[Play]:
    """Yields a function that submits to the worker and checks the logs afterwards."""
    settings = GivenSettings(redis_url=running.redis_url, tenant_limit=100_000)
    async with open_rig(running.redis_url, settings) as rig:

        async def play(plan: Plan) -> WorkerRound:
            meter = _Meter(running.workers, running.redis)
            ids = [await rig.ask(str(plan)) for _ in range(STREAMS)]
            while int(await rig.connections.ask("HGET", KEYS.load(0), "count") or 0):
                await asyncio.sleep(_POLL_S)
            played = meter.read(STREAMS * plan.deltas)
            for request_id in ids:
                check_text(plan, "".join(fold(await rig.entries(request_id)).text))
            return played

        yield play


@contextlib.asynccontextmanager
async def obvious(box: Box, running: Running) -> AsyncIterator[Play]:
    """Runs bench/peers/stock_worker.py; yields a function that sends it jobs and checks them."""
    with box.on_server_core():
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "bench.peers.stock_worker", running.redis_url,
            running.upstream_url, stdout=subprocess.PIPE,
        )  # fmt: skip
    connections = Connections(running.redis_url)
    assert process.stdout is not None
    assert await process.stdout.readline() == b"working\n"

    async def play(plan: Plan) -> WorkerRound:
        logs = [f"log-{number}-{time.monotonic_ns()}" for number in range(STREAMS)]
        meter = _Meter([process.pid], running.redis)
        for log in logs:
            await connections.ask("RPUSH", "jobs", json.dumps({"log": log, "prompt": str(plan)}))
        for log in logs:
            while int(await connections.ask("XLEN", log)) <= plan.deltas:
                await asyncio.sleep(_POLL_S)
        played = meter.read(STREAMS * plan.deltas)
        for log in logs:
            entries = await connections.ask("XRANGE", log, "-", "+")
            check_text(plan, b"".join(fields[b"delta"] for _, fields in entries[:-1]).decode())
        return played

    try:
        yield play
    finally:
        process.terminate()
        await process.wait()
        await connections.aclose()


class _Meter:
    """Measures from its creation to `read`."""

    def __init__(self, workers: list[int], redis: list[int]) -> None:
        self._workers, self._redis = workers, redis
        self._began = (time.monotonic(), cpu_s(self._workers), cpu_s(self._redis))

    def read(self, tokens: int) -> WorkerRound:
        began_s, worker_s, redis_s = self._began
        return WorkerRound(
            (cpu_s(self._workers) - worker_s) / tokens * 1e6,
            tokens / (time.monotonic() - began_s),
            (cpu_s(self._redis) - redis_s) / tokens * 1e6,
        )


def _spread(rounds: list[WorkerRound], of: Callable[[WorkerRound], float]) -> Spread:
    return Spread(tuple(map(of, rounds)))
