"""The cost of metrics and logs: the same API and the same worker with and without them, in turn.

A process is switched between its rounds, which alternate: off and on, then on and off. Reading the
metrics is measured apart, as its share of a core when Prometheus reads them every 15 s.
"""

import asyncio
import contextlib
import os
import re
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial

import httpx2

from bench.asking import Plan, deployed
from bench.box import Box, cpu_s
from bench.peers import ours
from bench.report import Bound, Report, Spread, Strip, Table, ratios
from bench.rounds import Workload, play
from bench.shapes import worker
from tests.faults.ports import free_port
from tests.support.servers import valkey_server
from tickertape.cli.serve import module_argv

_MUST = 1.02
_SCRAPED_EVERY_S, _SCRAPES = 15, 10
_LAG = re.compile(r"^tickertape_event_loop_lag_seconds_count (\S+)$", re.MULTILINE)
# Longer than the event loop takes to notice the signal, and than two looks of the loop's watch.
_SWITCH_S = 0.2

Round = Callable[[], Awaitable[float]]


class _Switched:
    """A process of bench/switched.py, and the address of its metrics."""

    def __init__(self, pid: int, url: str) -> None:
        self.pid = pid
        self._url = url

    async def scrape(self) -> float:
        """Read the metrics; returns how often the loop's watch has looked."""
        async with httpx2.AsyncClient() as client:
            (looks,) = _LAG.findall((await client.get(self._url)).text)
        return float(looks)

    @contextlib.asynccontextmanager
    async def off(self) -> AsyncIterator[None]:
        """Without metrics and logs until the end of the block."""
        await self._flip()
        before = await self.scrape()
        yield
        assert await self.scrape() == before, "the metrics were not off"
        await self._flip()

    async def _flip(self) -> None:
        os.kill(self.pid, signal.SIGUSR1)
        await asyncio.sleep(_SWITCH_S)


@dataclass
class _Played:
    """The figures of each round off and on, by their names, and the shares of scrapes."""

    rounds: dict[str, tuple[list[float], list[float]]] = field(default_factory=dict)
    scrapes: dict[str, Spread] = field(default_factory=dict)


async def measure(box: Box, *, rounds: int) -> Report:
    """Compare the CPU of both processes per event and per token."""
    played = _Played()
    await _play_api(box, rounds, played)
    await _play_worker(box, rounds, played)
    rows, plotted = [], {}
    bounds = [
        Bound(f"{name}: scrapes, of a core", share, 0.002) for name, share in played.scrapes.items()
    ]
    for name, (off, on) in played.rounds.items():
        rows.append([name, str(Spread(tuple(off))), str(Spread(tuple(on)))])
        bounds.append(Bound(f"{name}: on, of off", ratios(on, off), _MUST))
        plotted[f"{name}, off"], plotted[f"{name}, on"] = off, on
    return Report(
        tables=[Table(("CPU in us", "off", "on"), rows)],
        bounds=bounds,
        plots=[Strip("metrics", "Metrics and logs, off and on: every round", "CPU, us", plotted)],
    )


async def _play_api(box: Box, rounds: int, played: _Played) -> None:
    shapes = {
        "API, an event to 1,000 readers": Workload([box.some(1000)], 50, box.some(100)),
        "API, an event to one reader": Workload([1] * box.some(400), 20, 60),
    }
    with valkey_server(append_only=True) as redis:
        async with ours.running(
            box, redis, program=_switched, TICKERTAPE_COALESCE_MS="0"
        ) as running:
            process = _Switched(running.pids[0], f"http://127.0.0.1:{running.port}/metrics")

            async def play_one(workload: Workload) -> float:
                return (await play(box, running, workload)).us_per_event

            for name, workload in shapes.items():
                played.rounds[name] = await _alternate(process, partial(play_one, workload), rounds)
            played.scrapes["API"] = await _scraped(process, rounds)


async def _play_worker(box: Box, rounds: int, played: _Played) -> None:
    port, share = free_port(), 4 if box.is_quick else 1
    shapes = {
        "worker, a token at full speed": Plan(2000 // share),
        "worker, a token of 100 a second": Plan(150 // share, 100),
    }
    async with (
        deployed(
            box,
            slots=worker.STREAMS,
            api_beside_workers=False,
            program=_switched,
            TICKERTAPE_WORKER_HEALTH_PORT=str(port),
        ) as running,
        worker.ours(running) as play_ours,
    ):
        process = _Switched(running.workers[0], f"http://127.0.0.1:{port}/metrics")

        async def play_one(plan: Plan) -> float:
            return (await play_ours(plan)).us_per_token

        for name, plan in shapes.items():
            played.rounds[name] = await _alternate(process, partial(play_one, plan), rounds)
        played.scrapes["worker"] = await _scraped(process, rounds)


async def _alternate(
    process: _Switched, play_one: Round, rounds: int
) -> tuple[list[float], list[float]]:
    """The figures of each round, off and on."""
    off: list[float] = []
    on: list[float] = []
    await play_one()
    for number in range(rounds):
        for is_on in (False, True) if number % 2 else (True, False):
            if is_on:
                on.append(await play_one())
            else:
                async with process.off():
                    off.append(await play_one())
    return off, on


async def _scraped(process: _Switched, rounds: int) -> Spread:
    """The share of a core that the scrapes of a Prometheus take."""
    shares = []
    for _ in range(rounds):
        before_s = cpu_s([process.pid])
        for _ in range(_SCRAPES):
            await process.scrape()
        shares.append((cpu_s([process.pid]) - before_s) / _SCRAPES / _SCRAPED_EVERY_S)
    return Spread(tuple(shares))


def _switched(*arguments: str) -> list[str]:
    return module_argv("bench.switched", *arguments)
