"""Several upstreams of a run: one program that numbers all calls, and a way to it for each."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from tests.chaos.engine import Schedule
from tests.support.proxy import FaultProxy
from tests.support.servers import open_port
from tests.support.upstreams import write_table

# So many that the limit is kept and ends no call.
_PER_MINUTE = 100_000


@contextlib.asynccontextmanager
async def ways_to(upstream_url: str, count: int) -> AsyncIterator[Sequence[FaultProxy]]:
    """The proxies, each of which is an upstream of the table; none for a single upstream."""
    async with contextlib.AsyncExitStack() as stack:
        ports = [urlsplit(upstream_url).port or 0] * (count if count > 1 else 0)
        yield [await stack.enter_async_context(FaultProxy(port)) for port in ports]


def table_settings(directory: Path, proxies: Sequence[FaultProxy]) -> Mapping[str, str]:
    """The settings that name a table of the proxies, and the table itself."""
    if not proxies:
        return {}
    rows = [
        {
            "name": f"way-{number}",
            "base_url": f"http://127.0.0.1:{proxy.port}/v1",
            "key_env": "OPENAI_API_KEY",
            "weight": number + 1,
            "requests_per_minute": _PER_MINUTE,
            "tokens_per_minute": 100 * _PER_MINUTE,
            "concurrency": 20,
        }
        for number, proxy in enumerate(proxies)
    ]
    return {"TICKERTAPE_UPSTREAMS": str(write_table(directory / "upstreams.toml", *rows))}


def faults(proxies: Sequence[FaultProxy]) -> Schedule:
    """The faults of upstreams, one of which works at any time; none for a single upstream."""
    acts = _Faults(proxies)
    return (
        {"upstream reset": (5, acts.reset), "upstream away": (7, acts.take_away)} if proxies else {}
    )


class _Faults:
    def __init__(self, proxies: Sequence[FaultProxy]) -> None:
        self._proxies = proxies
        self._lock = asyncio.Lock()

    async def reset(self, rng: random.Random) -> bool:
        async with self._lock:
            rng.choice(self._proxies).reset_all()
        return True

    async def take_away(self, rng: random.Random) -> bool:
        """Break all calls of one upstream, and let nobody connect for a while."""
        async with self._lock:
            proxy = rng.choice(self._proxies)
            port = proxy.target_port
            proxy.lead_to(open_port())
            try:
                await asyncio.sleep(rng.uniform(0.5, 4))
            finally:
                proxy.lead_to(port)
        return True
