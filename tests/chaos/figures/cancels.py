"""The time from a cancel to the end of its upstream call, while many other answers run."""

import asyncio
import json
import subprocess
import sys
import time

from tests.chaos.figures.callers import Callers, has_words, percentiles
from tests.support.prompted import Plan
from tests.support.wait import wait_until
from tickertape.cli.up.spawn import spawn

CANCELS = 200
_AT_ONCE = 4
_LOAD_PER_TENANT = 15
_ENDLESS = 100_000
_RATE_PER_S = 50


async def measure_cancels(calling: Callers) -> list[str]:
    """From the POST to the upstream's connection closed, as the upstream saw it."""
    for client in calling.clients:
        for n in range(_LOAD_PER_TENANT):
            plan = Plan(deltas=_ENDLESS, rate_per_s=_RATE_PER_S, tag=f"load-{n}")
            read = calling.read(await calling.submit(plan, client), client)
            await has_words(read)
    with spawn(
        [sys.executable, "-m", "tests.chaos.figures.idle_loop"], stdout=subprocess.PIPE
    ) as idle:
        sent_at_s: dict[str, float] = {}
        rounds = range(CANCELS // _AT_ONCE)
        await asyncio.gather(
            *(_cancel_many(calling, n, rounds, sent_at_s) for n in range(_AT_ONCE))
        )
        idle.terminate()
        delays, _ = await asyncio.to_thread(idle.communicate)
    latencies_s = await _latencies_s(calling, sent_at_s)
    load = f"{len(calling.clients) * _LOAD_PER_TENANT} answers of {_RATE_PER_S} deltas/s each"
    control = percentiles(json.loads(delays), 50, 95, 99)
    return [
        f"{len(latencies_s)} cancels beside {load}: {percentiles(latencies_s, 50, 95, 99)}",
        f"control, a loop that only sleeps, is late by: {control}",
    ]


async def _cancel_many(
    calling: Callers, caller: int, rounds: range, sent_at_s: dict[str, float]
) -> None:
    client = calling.clients[caller % len(calling.clients)]
    for n in rounds:
        plan = Plan(deltas=_ENDLESS, rate_per_s=_RATE_PER_S, tag=f"cancelled-{caller}-{n}")
        request_id = await calling.submit(plan, client)
        await has_words(calling.read(request_id, client))
        sent_at_s[plan.tag] = time.monotonic()
        await calling.cancel(request_id, client)


async def _latencies_s(calling: Callers, sent_at_s: dict[str, float]) -> list[float]:
    async def all_closed() -> list[float]:
        closed: dict[str, float] = {
            json.loads(call["body"]["messages"][-1]["content"])["tag"]: call["closed_at_s"]
            for call in await calling.journal()
            if call["closed_at_s"] is not None
        }
        if not sent_at_s.keys() <= closed.keys():
            return []
        return [closed[tag] - at_s for tag, at_s in sent_at_s.items()]

    return await wait_until(all_closed, description="the upstream to be left by all")
