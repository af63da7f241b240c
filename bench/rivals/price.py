"""What a token costs: CPU of the system and of Redis, the trips to Redis, and its connections."""

import asyncio
import contextlib
import re
import time
from dataclasses import dataclass

import aiohttp
from redis.asyncio import Redis

from bench.asking import Plan, numbers_in
from bench.box import cpu_s
from bench.rivals.rival import Rival, events_of
from tickertape.cli.bench.percentiles import percentile

# A system that is this late has lost the answer for its readers.
_LIMIT_S = 60.0
_STAMP = re.compile(r"\d+@(\d+) ")


@dataclass(frozen=True)
class Server:
    """The Redis of a system under comparison."""

    url: str
    pid: int


@dataclass(frozen=True)
class Load:
    """`answers` at once, each with `readers` readers."""

    answers: int
    readers: int
    plan: Plan


@dataclass(frozen=True)
class Price:
    """Per token of one load. `trips` are reads by Redis from its sockets, so a pipeline is one."""

    cpu_us: float
    redis_us: float
    trips: float
    connections: int
    p50_ms: float
    p99_ms: float
    faulty: int
    """Checked readers whose text lacked a token, or had one twice."""


async def price_of(rival: Rival, server: Server, load: Load) -> Price:
    """Run the load once.

    One reader of each answer checks the text; the others take the bytes only, because all readers
    share a core with Redis.
    """
    async with (
        Redis.from_url(server.url) as redis,
        aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=None)
        ) as session,
    ):
        names = [await rival.ask(session, str(load.plan)) for _ in range(load.answers)]
        before = await _counts(rival, server, redis)
        checking = [asyncio.create_task(_checked(rival, session, each, load)) for each in names]
        idle = [
            asyncio.create_task(_drained(rival, session, name))
            for name in names
            for _ in range(load.readers - 1)
        ]
        await asyncio.sleep(load.plan.length_s / 2)
        connections = int((await redis.info("clients"))["connected_clients"])
        checked = await asyncio.gather(*checking)
        await asyncio.gather(*idle)
        after = await _counts(rival, server, redis)
    tokens = load.answers * load.plan.deltas
    cpu_s, redis_s, trips = ((b - a) / tokens for a, b in zip(before, after, strict=True))
    delays_ms = sorted(each for found, _ in checked for each in found)
    p50, p99 = (percentile(delays_ms, share) for share in (0.5, 0.99))
    faulty = sum(not is_whole for _, is_whole in checked)
    return Price(cpu_s * 1e6, redis_s * 1e6, trips, connections, p50, p99, faulty)


async def _counts(rival: Rival, server: Server, redis: Redis) -> tuple[float, float, float]:
    stats = await redis.info("stats")
    return cpu_s(rival.pids), cpu_s([server.pid]), float(stats["total_reads_processed"])


async def _checked(
    rival: Rival, session: aiohttp.ClientSession, name: str, load: Load
) -> tuple[list[float], bool]:
    """The delays of the tokens in ms, from their writes at the upstream; whether each came once."""
    text, delays_ms = "", list[float]()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_LIMIT_S), await rival.open(session, name) as response:
            async for event in events_of(response):
                now_ns = time.monotonic_ns()
                for piece in rival.pieces(event.name, event.data):
                    text += piece.text
                    delays_ms += [(now_ns - int(at)) / 1e6 for at in _STAMP.findall(piece.text)]
                    if piece.kind == "completed":
                        return delays_ms, numbers_in(text) == list(range(load.plan.deltas))
    return delays_ms, False


async def _drained(rival: Rival, session: aiohttp.ClientSession, name: str) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_LIMIT_S), await rival.open(session, name) as response:
            async for _ in response.content.iter_any():
                pass
