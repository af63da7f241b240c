"""Whether a process has grown after three equal runs.

Each run is large enough to fill an API process' cache of finished logs, which is bounded.
"""

import asyncio
import gc
import os
from pathlib import Path

from tests.chaos.figures.callers import Callers, has_ended
from tests.chaos.members import Member
from tests.support.prompted import Plan

RUNS = 3
_REQUESTS = 320
_DELTAS = 1000
_AT_ONCE = 16
_REST_S = 8.0  # longer than an API process keeps a tape without readers


async def measure_memory(calling: Callers) -> list[str]:
    """RSS after each of three equal runs."""
    members = [calling.system.apis[0], *calling.system.workers]
    rss: list[list[int]] = []
    for run in range(RUNS):
        await _run(calling, run)
        await asyncio.sleep(_REST_S)
        rss.append([_rss_bytes(member) for member in members])
        gc.collect()
    return [
        f"{member.name}: RSS {', '.join(f'{each[n] / 1e6:.1f}' for each in rss)} MB after the runs,"
        f" third to second {rss[2][n] / rss[1][n]:.3f}"
        for n, member in enumerate(members)
    ]


async def _run(calling: Callers, run: int) -> None:
    """Equal requests with other ids, a limited number at a time, each with a reader."""
    room = asyncio.Semaphore(_AT_ONCE)

    async def one(n: int) -> None:
        client = calling.clients[n % len(calling.clients)]
        async with room:
            plan = Plan(deltas=_DELTAS, rate_per_s=1000, tag=f"run-{run}-{n:04}")
            await has_ended(calling.read(await calling.submit(plan, client), client))

    await asyncio.gather(*(one(n) for n in range(_REQUESTS)))


def _rss_bytes(member: Member) -> int:
    pages = int(Path(f"/proc/{member.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
