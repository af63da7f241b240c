"""What limits cost a submit: `python -m bench.submit_cost`.

First what SUBMIT, CLAIM and FINISH cost Redis: the least mean time of a call in a batch, in us,
without limits of rates and with five of them. Then whole submits, `POST /chat` to the 202, with
keys and a user: two APIs in turn, one without limits and one with five, and the ratio of both.
"""

import asyncio
import math
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

from tests.support.given_settings import GivenSettings
from tests.support.rig import Rig, open_rig
from tests.support.running_api import RunningApi, running_api
from tests.support.servers import in_memory, valkey_server
from tickertape.broker.leases import Lease
from tickertape.broker.rates import RateLimit

# Other programs on the machine make a batch slower, and none faster.
_BATCHES, _BATCH = 30, 50
_leases: list[Lease] = []
_RATES = tuple(
    RateLimit(f"n{n}", "public" if n < 3 else "u:1", 10**9, 60_000, 9, 1, 1) for n in range(5)
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


_KEY = "a-key-of-the-benchmark"
_LIMITS = (
    "* requests_per_minute=100000000 tokens_per_minute=100000000 tokens_per_day=100000000000"
    " user_requests_per_minute=100000000 user_tokens_per_minute=100000000"
)
_BODY = b'{"message":"' + b"how do the tides work? " * 20 + b'"}'
_HEAD = (
    f"POST /chat HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {_KEY}\r\n"
    "X-Tickertape-User: ann\r\nContent-Type: application/json\r\n"
    f"Content-Length: {len(_BODY)}\r\n\r\n"
)
_ROUNDS, _SUBMITS_OF_ROUND = 60, 25


class _Client:
    """One kept connection, without the cost of a real client."""

    def __init__(self, api: RunningApi, settle: Callable[[], object] | None = None) -> None:
        self._settle = settle
        self._port = int(api.url.rpartition(":")[2])
        self._request = _HEAD.encode() + _BODY

    async def connect(self) -> None:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)

    async def mean_us(self, submits: int) -> float:
        begun_s = time.perf_counter()
        for _ in range(submits):
            self._writer.write(self._request)
            head = await self._reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 202"), head
            length = head.lower().partition(b"content-length:")[2].split()[0]
            await self._reader.readexactly(int(length))
        if self._settle is not None:
            self._settle()
        return (time.perf_counter() - begun_s) / submits * 1e6


async def compare_submits(
    url: str, *, settle: Callable[[], object] | None = None, **other: Any
) -> tuple[float, float, float]:
    """The us of a submit to an API, to one with `other` settings, and the median ratio of both.

    `settle` does what the other API leaves for later, and counts as its time.
    """
    settings: dict[str, Any] = {
        "api_keys": f"t:{_KEY}",
        "tenant_limit": 10**6,
        "queue_limit": 10**6,
        "tenant_bytes": 10**10,
        "queue_bytes": 10**10,
    }
    async with (
        running_api(url, **settings) as free,
        running_api(url, **other, **settings) as limited,
    ):
        clients = [_Client(free), _Client(limited, settle)]
        for client in clients:
            await client.connect()
            await client.mean_us(_SUBMITS_OF_ROUND)
        rounds: list[list[float]] = []
        for number in range(_ROUNDS):
            order = (0, 1) if number % 2 else (1, 0)
            figures = {each: await clients[each].mean_us(_SUBMITS_OF_ROUND) for each in order}
            rounds.append([figures[0], figures[1]])
    least = [min(each) for each in zip(*rounds, strict=True)]
    return least[0], least[1], statistics.median(limited / free for free, limited in rounds)


async def _whole_submits(url: str) -> None:
    without, with_limits, ratio = await compare_submits(url, tenant_rules=_LIMITS)
    print(f"whole submit       without limits {without:.0f} us, with five {with_limits:.0f} us")
    print(f"ratio              {ratio:.3f} (median of {_ROUNDS} rounds in turn)")


async def main() -> None:
    """Print the table."""
    for name, fields in (("without limits", {}), ("with five limits", {"rates": _RATES})):
        with valkey_server(parent=in_memory()) as server:
            submit, claim, finish = await _costs(server.url, **fields)
        print(f"{name:18} submit {submit:6.1f}  claim {claim:6.1f}  finish {finish:6.1f} us")
    with valkey_server(parent=in_memory()) as server:
        await _whole_submits(server.url)


if __name__ == "__main__":
    asyncio.run(main())
