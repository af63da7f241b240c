"""What SUBMIT, CLAIM and FINISH cost Redis: `python -m bench.submit_cost`.

The least mean time of a call in a batch, in us, without limits of rates and with five of them.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

from tests.support.given_settings import GivenSettings
from tests.support.rig import Rig, open_rig
from tests.support.servers import in_memory, valkey_server
from tickertape.broker.queue import Lease
from tickertape.broker.rates import RateLimit

# Other programs on the machine make a batch slower, and none faster.
_BATCHES, _BATCH = 30, 50
_leases: list[Lease] = []
_RATES = tuple(
    RateLimit(name=f"n{n}", key="public", limit=10**9, window_ms=60_000, cost=9, is_settled=True)
    for n in range(5)
)


async def _costs(url: str, **fields: Any) -> list[float]:
    settings = GivenSettings(openai_model="m", tenant_limit=10**6, queue_limit=10**6, lease_s=300)
    least = [math.inf] * 3
    async with open_rig(url, settings) as rig:
        steps: list[Callable[[], Awaitable[object]]] = [partial(rig.submit, **fields), rig.claim]
        for _ in range(_BATCHES):
            leases: list[Lease | None] = [None] * _BATCH
            for number, step in enumerate([*steps, rig.finish]):
                at_end = [*_leases] if step == rig.finish else leases
                least[number] = min(least[number], await _cost(rig, step, at_end))
    return least


async def _cost(
    rig: Rig, step: Callable[[], Awaitable[object]], leases: Sequence[Lease | None]
) -> float:
    await rig.connections.ask("CONFIG", "RESETSTAT")
    _leases.clear()
    for lease in leases:
        if lease is not None:
            rig.lease, rig._seq = lease, 0
        await step()
        if rig.lease is not None:
            _leases.append(rig.lease)
    stats = await rig.connections.ask("INFO", "commandstats")
    return float(stats["cmdstat_evalsha"]["usec_per_call"])


async def main() -> None:
    """Print the table."""
    for name, fields in (("without limits", {}), ("with five limits", {"rates": _RATES})):
        with valkey_server(parent=in_memory()) as server:
            submit, claim, finish = await _costs(server.url, **fields)
        print(f"{name:18} submit {submit:6.1f}  claim {claim:6.1f}  finish {finish:6.1f} us")


if __name__ == "__main__":
    asyncio.run(main())
