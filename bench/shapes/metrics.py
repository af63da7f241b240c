"""The cost of metrics and logs: the same API and the same worker with and without them, in turn.

Under a steady load, a process is switched every half second, in the order off, on, on, off. A round
adds up four such halves of each, so a machine that becomes slower for seconds slows both. At full
speed, whole rounds alternate. Reading the metrics is measured apart, as its share of a core when
Prometheus reads them every 15 s. The 2 % are of CPU time in ns; the machine needs no counters.
"""

import asyncio
import contextlib
import math
import os
import re
import signal
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
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
# In which the metrics are off and on in a round under a steady load.
_ORDER = (False, True, True, False) * 2
_WINDOW_S = 0.5
_WINDOWS_S = _WINDOW_S * len(_ORDER)
# Until a load is steady, and from the last window to its end.
_BEFORE_S, _AFTER_S = 1.0, 0.3

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

    async def windows(self, per_s: float) -> tuple[float, float]:
        """The CPU in us of each of `per_s` events a second, off and on, under a steady load."""
        used_s, is_on = {False: 0.0, True: 0.0}, True
        took_s = {False: 0.0, True: 0.0}
        await asyncio.sleep(_BEFORE_S)
        for wanted in _ORDER:
            if is_on is not wanted:
                self._switch()
            is_on = wanted
            began_s, before_s = time.monotonic(), cpu_s([self.pid])
            await asyncio.sleep(_WINDOW_S)
            used_s[wanted] += cpu_s([self.pid]) - before_s
            took_s[wanted] += time.monotonic() - began_s
        if not is_on:
            self._switch()
        off, on = (used_s[each] / took_s[each] / per_s * 1e6 for each in (False, True))
        return off, on

    async def _flip(self) -> None:
        self._switch()
        await asyncio.sleep(_SWITCH_S)

    def _switch(self) -> None:
        os.kill(self.pid, signal.SIGUSR1)


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
    rows, plotted, intervals = [], {}, []
    bounds = [
        Bound(f"{name}: scrapes, of a core", share, 0.002) for name, share in played.scrapes.items()
    ]
    for name, (off, on) in played.rounds.items():
        rows.append([name, str(Spread(tuple(off))), str(Spread(tuple(on)))])
        ratio = ratios(on, off)
        bounds.append(Bound(f"{name}: on, of off", ratio, _MUST))
        intervals.append(f"{name} {_interval(ratio)}")
        plotted[f"{name}, off"], plotted[f"{name}, on"] = off, on
    return Report(
        tables=[Table(("CPU in us", "off", "on"), rows)],
        bounds=bounds,
        plots=[Strip("metrics", "Metrics and logs, off and on: every round", "CPU, us", plotted)],
        notes=[_note(intervals)],
    )


def _note(intervals: Sequence[str]) -> str:
    return (
        f"The median ratio lies, with a probability of 95 %, in: {'; '.join(intervals)}. Traces are"
        " off throughout, and no event and no token passes them: `python -m bench.trace_cost` has"
        " what they cost a request."
    )


def _interval(ratio: Spread) -> str:
    """Of the median of all such rounds, by their order alone."""
    ordered, count = sorted(ratio.values), len(ratio.values)
    low = max(0, math.floor((count - 1.96 * math.sqrt(count)) / 2))
    return f"{ordered[low]:.3f}-{ordered[-1 - low]:.3f}"


async def _play_api(box: Box, rounds: int, played: _Played) -> None:
    length_s = _BEFORE_S + _WINDOWS_S + _AFTER_S
    shapes = {
        f"API, an event to {readers}": Workload(logs, rate, round(rate * length_s))
        for readers, logs, rate in (
            ("1,000 readers", [box.some(1000)], 50),
            ("one reader", [1] * box.some(400), 20),
        )
    }
    with valkey_server(append_only=True) as redis:
        async with ours.running(
            box, redis, program=_switched, TICKERTAPE_COALESCE_MS="0"
        ) as running:
            process = _Switched(running.pids[0], f"http://127.0.0.1:{running.port}/metrics")

            async def play_one(workload: Workload) -> tuple[float, float]:
                used = 0.0, 0.0

                async def switch() -> None:
                    nonlocal used
                    used = await process.windows(workload.rate * sum(workload.readers))

                await play(box, running, workload, beside=switch)
                return used

            for name, workload in shapes.items():
                played.rounds[name] = await _repeat(partial(play_one, workload), rounds)
            played.scrapes["API"] = await _scraped(process, rounds)


async def _play_worker(box: Box, rounds: int, played: _Played) -> None:
    port, share = free_port(), 4 if box.is_quick else 1
    full = Plan(1000 // share)
    paced = Plan(round(100 * (_BEFORE_S + _WINDOWS_S + _AFTER_S)), 100)
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

        async def play_paced() -> tuple[float, float]:
            _, used = await asyncio.gather(
                play_ours(paced), process.windows(worker.STREAMS * paced.rate_per_s)
            )
            return used

        at_full_speed = partial(play_one, full)
        played.rounds |= {
            "worker, a token at full speed": await _alternate(process, at_full_speed, rounds),
            "worker, a token of 100 a second": await _repeat(play_paced, rounds),
        }
        played.scrapes["worker"] = await _scraped(process, rounds)


async def _repeat(
    play_one: Callable[[], Awaitable[tuple[float, float]]], rounds: int
) -> tuple[list[float], list[float]]:
    """The figures of each round, off and on."""
    played = [await play_one() for _ in range(rounds)]
    return [off for off, _ in played], [on for _, on in played]


async def _alternate(
    process: _Switched, play_one: Round, rounds: int
) -> tuple[list[float], list[float]]:
    """The figures of each round, off and on."""
    await play_one()

    async def play_four() -> tuple[float, float]:
        figures: dict[bool, list[float]] = {False: [], True: []}
        for is_on in _ORDER[:4]:
            async with contextlib.nullcontext() if is_on else process.off():
                figures[is_on].append(await play_one())
        return statistics.mean(figures[False]), statistics.mean(figures[True])

    return await _repeat(play_four, rounds)


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
