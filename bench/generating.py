"""Runs many generations at once in the workers of a deployment, and measures one window of time.

Only the workers are measured, because an API process and its readers would need a whole core. A
single subscriber receives the pushes, as an API process does, and notes the delay of each delta.
Afterwards, every log is checked for missing deltas.
"""

import asyncio
import re
import time
from dataclasses import dataclass, field, replace

from bench.asking import Plan, Running, check_text
from bench.box import cpu_s
from bench.report import Spread, Table, percentile_ms
from tests.support.given_settings import GivenSettings
from tests.support.keyspace import KEYS
from tests.support.rig import Rig, open_rig
from tickertape.broker.fold import fold
from tickertape.broker.push import Push

WINDOW_S = 1.5
_TOGETHER = 8
_STAMP = re.compile(rb"@(\d+) ")


@dataclass(frozen=True)
class GenerationRound:
    """The figures of one window of time, in which every generation was running.

    `kept` is the share of the upstream's deltas that arrived in the window, and 0 if the first
    generation ended before the last one had started.
    """

    us_per_token: float
    p50_ms: float
    p99_ms: float
    cores: float
    kept: float


@dataclass
class Delays:
    """Receives pushes, and collects the delay of each delta in us."""

    each_us: list[int] = field(default_factory=list)

    def on_subscribed(self, channel: bytes) -> None:
        """Does nothing: entries from before the subscription do not count."""

    def on_pushed(self, channel: bytes, message: bytes) -> None:
        """Record for each delta how long ago the upstream wrote it."""
        now_ns = time.monotonic_ns()
        self.each_us += [(now_ns - int(stamp)) // 1000 for stamp in _STAMP.findall(message)]


async def play(
    running: Running, at_once: int, rate_per_s: float, window_s: float
) -> GenerationRound:
    """Start `at_once` generations in turn, and measure `window_s` when all are running.

    Raises AssertionError if a log lost, repeated or reordered a delta.
    """
    begin_s = at_once * 0.005
    plan = Plan(int((2 * begin_s + window_s + 1) * rate_per_s) + 1, rate_per_s)
    settings = GivenSettings(redis_url=running.redis_url, tenant_limit=100_000)
    async with open_rig(running.redis_url, settings) as rig:
        delays = Delays()
        push = Push(rig.connections, delays)
        listening = asyncio.create_task(push.run())
        began_s = time.monotonic()
        ids: list[str] = []
        while len(ids) < at_once:
            count = min(_TOGETHER, at_once - len(ids))
            ids += await asyncio.gather(*(rig.ask(str(plan)) for _ in range(count)))
            for request_id in ids[-count:]:
                push.subscribe(KEYS.log_channel(request_id).encode())
            await asyncio.sleep(begin_s * count / at_once)
        await asyncio.sleep(0.3)
        played = await _window(running, delays, at_once * rate_per_s, window_s)
        if time.monotonic() - began_s >= plan.length_s:
            played = replace(played, kept=0.0)
        await _check_all(rig, plan, ids)
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
    return played


async def _window(
    running: Running, delays: Delays, per_s: float, window_s: float
) -> GenerationRound:
    delays.each_us.clear()
    began_s, before_s = time.monotonic(), cpu_s(running.workers)
    await asyncio.sleep(window_s)
    took_s, used_s = time.monotonic() - began_s, cpu_s(running.workers) - before_s
    each_us = list(delays.each_us) or [int(took_s * 1e6)]
    return GenerationRound(
        used_s / len(each_us) * 1e6,
        percentile_ms(each_us, 0.5),
        percentile_ms(each_us, 0.99),
        used_s / took_s,
        len(each_us) / per_s / took_s,
    )


async def _check_all(rig: Rig, plan: Plan, ids: list[str]) -> None:
    while int(await rig.connections.ask("HGET", KEYS.load(0), "count") or 0):
        await asyncio.sleep(0.05)
    for request_id in ids:
        check_text(plan, "".join(fold(await rig.entries(request_id)).text))


def spread(rounds: list[GenerationRound], name: str) -> Spread:
    """The field `name` of each round."""
    return Spread(tuple(getattr(played, name) for played in rounds))


def table(name: str, played: dict[int, list[GenerationRound]]) -> Table:
    """A row for each key of `played`, with `name` as the heading of the keys."""
    return Table(
        (name, "CPU per token, us", "of a core", "delay p50 / p99, ms", "deltas received"),
        [
            [
                f"{count:,}",
                str(spread(rounds, "us_per_token")),
                str(spread(rounds, "cores")),
                f"{spread(rounds, 'p50_ms')} / {spread(rounds, 'p99_ms')}",
                str(spread(rounds, "kept")),
            ]
            for count, rounds in played.items()
            if rounds
        ],
    )
