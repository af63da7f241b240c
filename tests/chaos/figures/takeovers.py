"""How long a reader waits when the worker of its request is killed."""

import asyncio
import time

from tests.chaos.figures.callers import Callers, Read, has_words, percentiles
from tests.support.prompted import Plan
from tests.support.wait import wait_until

KILLS = 100
_REQUESTS = 3


async def measure_takeovers(calling: Callers) -> list[str]:
    """From the SIGKILL to the first event of the new attempt at the reader."""
    latencies_s: list[float] = []
    for kill in range(KILLS):
        plans = [Plan(deltas=10_000, rate_per_s=50, tag=f"{kill}-{n}") for n in range(_REQUESTS)]
        ids = await asyncio.gather(*(calling.submit(plan) for plan in plans))
        reads = [calling.read(request_id) for request_id in ids]
        await asyncio.gather(*map(has_words, reads))
        owners = await asyncio.gather(*map(calling.owner_of, ids))
        victim = owners[0]
        orphans = [read for read, owner in zip(reads, owners, strict=True) if owner is victim]
        killed_at_s = time.monotonic()
        await victim.kill()
        latencies_s += [await _reset_at_s(read) - killed_at_s for read in orphans]
        victim.start()
        await asyncio.gather(*map(calling.cancel, ids))
    summary = f"{percentiles(latencies_s, 50, 99)}, longest {max(latencies_s) * 1000:.0f} ms"
    return [f"{KILLS} kills, {len(latencies_s)} requests taken over, lease 1 s: {summary}"]


async def _reset_at_s(read: Read) -> float:
    at_s = await wait_until(
        lambda: read.time_of("reset"), timeout_s=20, description="the request to be taken over"
    )
    assert at_s is not None
    return at_s
