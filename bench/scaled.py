"""One deployment of a given size, and what a token, a watcher and a request cost its processes.

Each process keeps its load when the system grows: twice the workers have twice the generations.
CPU comes from /proc, so two cores suffice for many processes, and other programs disturb little.
"""

import asyncio
import time
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from bench.asking import NATIVE, Asked, Plan, Running, ask, deployed
from bench.box import Box, cpu_s, resident_kib
from bench.load import Readers, reading
from bench.report import percentile_ms
from tests.support.given_settings import GivenSettings
from tests.support.rig import TENANT, Rig, open_rig

GENERATIONS = 40
TOKENS_PER_S = 8
SPREAD_READERS = 4
# Requests of one token, to see what a request costs besides its tokens.
_REQUESTS, _AT_ONCE = 15, 8
_WATCHERS = 200
# A slow machine may need long to open all readers. The answer is cancelled after the measurement.
_LONGEST_S = 120
_BEGIN_S, _SETTLE_S, _WINDOW_S, _REST_S = 1.0, 0.5, 2.0, 0.5


@dataclass(frozen=True)
class Size:
    """The processes of a deployment. `load` multiplies the generations."""

    workers: int = 1
    partitions: int = 1
    masters: int = 1
    replicas: int = 0
    apis: int = 1
    load: int = 1

    @property
    def generations(self) -> int:
        """The answers that are written at the same time, each with one reader."""
        return GENERATIONS * self.load

    @property
    def watchers(self) -> int:
        """The readers of one log, 200 for each API process."""
        return _WATCHERS * self.apis


@dataclass(frozen=True)
class Used:
    """CPU in us: of the workers, of Redis and of the API processes."""

    worker: float
    redis: float
    api: float

    @property
    def total(self) -> float:
        return self.worker + self.redis + self.api


@dataclass(frozen=True)
class ScaledRound:
    """`token` is for a token with one reader, `watcher` for a token that one more watcher gets.

    Delays are from the upstream's write to the reader. The memory is that of one more answer, in
    the workers and in the API processes.
    """

    token: Used
    watcher_us: float
    request: Used
    p50_ms: float
    p99_ms: float
    worker_kib: float
    api_kib: float


async def play(box: Box, size: Size, *, is_whole: bool = True) -> ScaledRound:
    """Start a deployment, measure it, and stop it. Raises AssertionError for a faulty answer.

    Unless `is_whole`, only tokens are measured.
    """
    async with deployed(
        box,
        workers=size.workers,
        apis=size.apis,
        partitions=size.partitions,
        masters=size.masters,
        replicas=size.replicas,
        is_undisturbed=True,
        api_beside_workers=False,
    ) as running:
        await ask(box, running, NATIVE, Plan(20), at_once=size.apis * 8)
        before = _resident(running)
        token, asked, during = await _tokens(box, running, size)
        watcher_us, request = 0.0, Used(0, 0, 0)
        if is_whole:
            watcher_us = await _watchers(box, running, size)
            request = await _requests(box, running)
    return ScaledRound(
        token,
        watcher_us,
        request,
        percentile_ms(asked.each_us, 0.5),
        percentile_ms(asked.each_us, 0.99),
        (during[0] - before[0]) / size.generations,
        (during[1] - before[1]) / size.generations,
    )


async def play_spread(box: Box, apis: int) -> Used:
    """The CPU of a token with four readers, who are spread by chance over so many processes."""
    async with deployed(box, apis=apis, api_beside_workers=False, is_undisturbed=True) as running:
        await ask(box, running, NATIVE, Plan(20), at_once=apis * 8)
        async with _rig(running, Size()) as rig:
            plan = str(Plan(int(_LONGEST_S * TOKENS_PER_S), TOKENS_PER_S))
            ids = await asyncio.gather(*(rig.ask(plan) for _ in range(GENERATIONS)))
            readers = [Readers(f"/chat/{each}/stream", SPREAD_READERS, 0) for each in ids]
            async with reading(box, running.api_port, readers):
                used = await _in_window(running, GENERATIONS * TOKENS_PER_S)
            await asyncio.gather(*(_cancel(rig, each) for each in ids))
    return used


async def _tokens(box: Box, running: Running, size: Size) -> tuple[Used, Asked, tuple[int, int]]:
    """All generations write at the same time.

    Returns the CPU and the memory of a window in which no answer begins or ends.
    """
    # Submits cost more than tokens, and none of them may fall into the window.
    begin_s = _BEGIN_S * size.load
    length_s = begin_s + _SETTLE_S + _WINDOW_S + _REST_S
    plan = Plan(int(length_s * TOKENS_PER_S), TOKENS_PER_S)
    asking = asyncio.create_task(
        ask(box, running, NATIVE, plan, at_once=size.generations, spread_s=begin_s)
    )
    await asyncio.sleep(begin_s)
    used = await _in_window(running, size.generations * TOKENS_PER_S)
    during = _resident(running)
    return used, await asking, during


async def _in_window(running: Running, units_per_s: float) -> Used:
    """The CPU of a unit, once the processes have settled."""
    await asyncio.sleep(_SETTLE_S)
    meter = Meter(running)
    await asyncio.sleep(_WINDOW_S)
    return meter.read(units_per_s * meter.seconds)


def _resident(running: Running) -> tuple[int, int]:
    """Memory of the workers and of the API, in KiB."""
    return resident_kib(running.workers), resident_kib([running.api])


async def _watchers(box: Box, running: Running, size: Size) -> float:
    """One answer that many watch: CPU of the API for a token and a watcher, in us."""
    plan = Plan(int(_LONGEST_S * TOKENS_PER_S), TOKENS_PER_S)
    async with _rig(running, size) as rig:
        request_id = await rig.ask(str(plan))
        path = f"/chat/{request_id}/stream"
        async with reading(box, running.api_port, [Readers(path, size.watchers, 0)]):
            used = await _in_window(running, size.watchers * TOKENS_PER_S)
        await _cancel(rig, request_id)
    return used.api


def _rig(running: Running, size: Size) -> AbstractAsyncContextManager[Rig]:
    settings = GivenSettings(
        redis_url=running.redis_url, partitions=size.partitions, tenant_limit=100_000
    )
    return open_rig(running.redis_url, settings)


async def _cancel(rig: Rig, request_id: str) -> None:
    assert (await rig.requests.cancel(request_id, TENANT)).status == "cancelled", (
        "the answer was over"
    )


async def _requests(box: Box, running: Running) -> Used:
    """Answers of one token, each submitted and read by a caller of its own."""
    meter = Meter(running)
    await ask(box, running, NATIVE, Plan(1), at_once=_AT_ONCE, each=_REQUESTS)
    return meter.read(_AT_ONCE * _REQUESTS)


class Meter:
    """Measures from its creation to `read`."""

    def __init__(self, running: Running) -> None:
        self._kinds = (running.workers, running.redis, [running.api])
        self._began_s, self._cpu_s = time.monotonic(), self._now()

    @property
    def seconds(self) -> float:
        """The time since the creation."""
        return time.monotonic() - self._began_s

    def read(self, units: float) -> Used:
        """The CPU since the creation, for each of `units`."""
        now = self._now()
        worker, redis, api = (
            (after - before) / units * 1e6 for after, before in zip(now, self._cpu_s, strict=True)
        )
        return Used(worker, redis, api)

    def _now(self) -> list[float]:
        return [cpu_s(pids) for pids in self._kinds]
