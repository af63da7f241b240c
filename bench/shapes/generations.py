"""Many generations at once: 600 with 50 deltas a second each, in one worker on one core.

Only the worker is measured: an API process and its readers would need more than the other core.
One subscriber, as an API process has it, takes the pushes and looks at the clock; afterwards every
log is read and each delta looked for.
"""

import asyncio
import re
import time
from dataclasses import dataclass, field

from bench.asking import Plan, Running, deployed
from bench.box import Box, cpu_s
from bench.report import Bound, Report, Spread, Table
from bench.shapes.hop import percentile_ms
from bench.shapes.worker import check
from tests.support.given_settings import GivenSettings
from tests.support.rig import Rig, open_rig
from tickertape.broker import keys
from tickertape.broker.fold import fold
from tickertape.broker.push import Push

_MANY, _MANY_PER_S = 600, 50
WINDOW_S = 1.5
_TOGETHER = 8
_STAMP = re.compile(rb"@(\d+) ")


@dataclass(frozen=True)
class Round:
    """What one round showed, while all were under way.

    `kept` is the share of the upstream's deltas that came in that time.
    """

    us_per_token: float
    p50_ms: float
    p99_ms: float
    cores: float
    kept: float


@dataclass
class Delays:
    """Listens to pushes."""

    each_us: list[int] = field(default_factory=list)

    def on_subscribed(self, channel: bytes) -> None:
        """Nothing to do: what came before is not looked for here."""

    def on_pushed(self, channel: bytes, message: bytes) -> None:
        """Note for each delta how long ago the upstream wrote it."""
        now_ns = time.monotonic_ns()
        self.each_us += [(now_ns - int(stamp)) // 1000 for stamp in _STAMP.findall(message)]


async def measure(box: Box, *, rounds: int) -> Report:
    """Whether a worker keeps up, and how late its deltas are."""
    async with deployed(box, api_beside_workers=False) as running:
        await play(running, 20, 20, 0.1)
        many = [
            await play(running, _MANY, _MANY_PER_S, WINDOW_S / (3 if box.is_quick else 1))
            for _ in range(rounds)
        ]
    return Report(
        tables=[table(f"at once, {_MANY_PER_S} deltas/s each", {_MANY: many})],
        bounds=[
            Bound("600 at once: p99 of a delta", spread(many, "p99_ms"), 20, 15, unit="ms"),
            Bound("600 at once: deltas that came", spread(many, "kept"), 0.97, at_least=True),
        ],
    )


async def play(running: Running, at_once: int, rate_per_s: float, window_s: float) -> Round:
    """Begin them one after the other, and measure from when the last one runs."""
    begin_s = min(2.0, at_once * 0.005)
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
                push.subscribe(keys.log_channel(request_id).encode())
            await asyncio.sleep(begin_s * count / at_once)
        await asyncio.sleep(0.3)
        played = await _window(running, delays, at_once * rate_per_s, window_s)
        assert time.monotonic() - began_s < plan.length_s, (
            "the first had ended before the last began"
        )
        await _check_all(rig, plan, ids)
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
    return played


async def _window(running: Running, delays: Delays, per_s: float, window_s: float) -> Round:
    delays.each_us.clear()
    began_s, before_s = time.monotonic(), cpu_s(running.workers)
    await asyncio.sleep(window_s)
    took_s, used_s = time.monotonic() - began_s, cpu_s(running.workers) - before_s
    each_us = list(delays.each_us)
    return Round(
        used_s / len(each_us) * 1e6,
        percentile_ms(each_us, 0.5),
        percentile_ms(each_us, 0.99),
        used_s / took_s,
        len(each_us) / per_s / took_s,
    )


async def _check_all(rig: Rig, plan: Plan, ids: list[str]) -> None:
    while int(await rig.connections.ask("HGET", keys.load(0), "count") or 0):
        await asyncio.sleep(0.05)
    for request_id in ids:
        check(plan, "".join(fold(await rig.entries(request_id)).text))


def spread(rounds: list[Round], name: str) -> Spread:
    """One figure of all rounds."""
    return Spread(tuple(getattr(each, name) for each in rounds))


def table(name: str, played: dict[int, list[Round]]) -> Table:
    """A row for each number of whatever it is."""
    return Table(
        (name, "CPU per token, us", "of a core", "delay p50 / p99, ms", "deltas that came"),
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
