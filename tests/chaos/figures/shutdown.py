"""How soon an API process with many open streams ends, and whether its readers lose anything."""

import asyncio
import signal
import time

from tests.chaos.figures.callers import Callers, has_ended, has_words
from tests.chaos.reading import reading_problems
from tests.support.prompted import Plan
from tickertape.broker.log import Logs

READERS = 500
_REQUESTS = 10


async def measure_shutdown(calling: Callers) -> list[str]:
    """SIGTERM with 500 open streams, then a new process, at which all of them resume."""
    plans = [Plan(deltas=60, rate_per_s=3, tag=f"long-{n}") for n in range(_REQUESTS)]
    ids = await asyncio.gather(*(calling.submit(plan) for plan in plans)) * (READERS // _REQUESTS)
    reads = [calling.read(request_id) for request_id in ids]
    await asyncio.gather(*(has_words(read) for read in reads))
    api = calling.system.apis[0]
    told_at_s = time.monotonic()
    api.signal(signal.SIGTERM)
    code = await api.ended()
    took_s = time.monotonic() - told_at_s
    await asyncio.gather(*calling.tasks)
    clean = sum(read.ended_well and read.retry_ms is not None for read in reads)
    api.start()
    await calling.system.ready()
    again = [
        calling.read(request_id, after=read.cursor)
        for request_id, read in zip(ids, reads, strict=True)
    ]
    await asyncio.gather(*(has_ended(read) for read in again))
    logs = Logs(calling.connections)
    written = {request_id: await logs.entries(request_id) for request_id in set(ids)}
    whole = sum(
        not reading_problems([*first.events, *second.events], written[request_id], is_whole=True)
        for request_id, first, second in zip(ids, reads, again, strict=True)
    )
    return [
        f"{len(reads)} open streams: the process ended with code {code} after {took_s:.2f} s",
        f"{clean} streams ended in order and with a time to reconnect",
        f"{whole} went on with another process and got every entry once",
    ]
