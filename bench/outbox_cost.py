"""What webhooks and a history cost a request: `python -m bench.outbox_cost`.

First what SUBMIT, CLAIM and FINISH cost Redis: the mean time of a call in a batch, in us, by two
rigs in turn on one server, one with both consumers and one without. Then whole submits, `POST
/chat` to the 202, at two APIs in turn. Nothing is handed on meanwhile, as while a database is away.
Each ratio is the median of the rounds, so a busy machine disturbs both sides alike.
"""

import asyncio
import statistics
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from bench.submit_cost import compare_submits
from tests.support.given_settings import GivenSettings
from tests.support.receiver import write_receivers
from tests.support.rig import Rig, open_rig
from tests.support.servers import in_memory, valkey_server
from tickertape.broker.leases import Lease

_ROUNDS, _BATCH = 40, 50
_STEPS = ("submit", "claim", "finish")


async def _mean_us(rig: Rig, call: Callable[[], Awaitable[object]]) -> float:
    await rig.connections.ask("CONFIG", "RESETSTAT")
    await call()
    stats = await rig.connections.ask("INFO", "commandstats")
    return float(stats["cmdstat_evalsha"]["usec_per_call"])


async def _batch(rig: Rig) -> list[float]:
    """The mean time of each step of a batch of requests, in us."""
    leases: list[Lease] = []

    async def submit() -> None:
        for _ in range(_BATCH):
            await rig.submit()

    async def claim() -> None:
        leases.extend([await rig.claim_lease() for _ in range(_BATCH)])

    async def finish() -> None:
        for lease in leases:
            rig.lease, rig._seq = lease, 0
            await rig.finish()

    return [await _mean_us(rig, step) for step in (submit, claim, finish)]


async def _compare(url: str, on: dict[str, Any]) -> None:
    limits: dict[str, Any] = {
        "openai_model": "m",
        "tenant_limit": 10**6,
        "queue_limit": 10**6,
        "lease_s": 300,
    }
    async with (
        open_rig(url, GivenSettings(**limits)) as without,
        open_rig(url, GivenSettings(**limits, **on)) as with_both,
    ):
        rounds: list[tuple[list[float], list[float]]] = []
        for number in range(_ROUNDS):
            order = (without, with_both) if number % 2 else (with_both, without)
            found = {id(rig): await _batch(rig) for rig in order}
            rounds.append((found[id(without)], found[id(with_both)]))
    for step, name in enumerate(_STEPS):
        off = [each[0][step] for each in rounds]
        ratio = statistics.median(each[1][step] / each[0][step] for each in rounds)
        both = [each[1][step] for each in rounds]
        print(f"{name:13} off {min(off):6.1f} us  on {min(both):6.1f} us  ratio {ratio:.3f}")
    ratio = statistics.median(sum(each[1]) / sum(each[0]) for each in rounds)
    print(f"{'all of Redis':13} ratio {ratio:.3f} (median of {_ROUNDS} rounds in turn)")


async def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder:
        on: dict[str, Any] = {
            "webhooks": write_receivers(Path(folder) / "webhooks.toml", a="http://127.0.0.1:9"),
            "history_url": f"sqlite:///{folder}/history.db",
        }
        with valkey_server(parent=in_memory()) as server:
            await _compare(server.url, on)
        with valkey_server(parent=in_memory()) as server:
            off_us, on_us, ratio = await compare_submits(server.url, **on)
        print(f"{'whole submit':13} off {off_us:6.0f} us  on {on_us:6.0f} us  ratio {ratio:.3f}")


if __name__ == "__main__":
    asyncio.run(main())
