"""The system of a run: Redis, an upstream, two API processes and three workers, all real.

One API process and one worker reach a single server through a proxy that harms their connections.
That API process also loses pushes. Addresses stay the same over restarts.
"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from tests.chaos.cluster_engine import cluster_engine
from tests.chaos.engine import Engine
from tests.chaos.lossy_api import lose_pushes
from tests.chaos.members import Member
from tests.chaos.one_server import one_server
from tests.chaos.sentinel_engine import sentinel_engine
from tests.chaos.tenants import TENANTS, key_of
from tests.chaos.unsafe_worker import remove_fences
from tests.support.servers import prompted_upstream
from tests.support.wait import wait_until

LEASE_S = 1.0
STALL_S = 3.0
MAX_CRASHES = 6
ENGINES: Mapping[str, Callable[[], AbstractAsyncContextManager[Engine]]] = {
    "one": one_server,
    "sentinel": sentinel_engine,
    "cluster": cluster_engine,
}
_SLOTS = 24
_START_S = 60


@dataclass(frozen=True)
class System:
    """The parts of a running system."""

    engine: Engine
    upstream_url: str
    apis: list[Member]
    workers: list[Member]
    api_urls: list[str]
    # A command of an operator, with the settings of a worker.
    command: Callable[[list[str]], Member]

    @property
    def members(self) -> list[Member]:
        """All Tickertape processes."""
        return [*self.apis, *self.workers]

    async def ready(self) -> None:
        """Wait until every API process is ready for requests."""
        async with aiohttp.ClientSession() as session:
            for member, url in zip(self.apis, self.api_urls, strict=True):

                async def is_ready(url: str = url) -> bool:
                    with contextlib.suppress(aiohttp.ClientError):
                        async with session.get(f"{url}/readyz") as answer:
                            return answer.status == 200
                    return False

                try:
                    await wait_until(is_ready, timeout_s=_START_S, description=f"{url} to be ready")
                except AssertionError as missed:
                    raise AssertionError(f"{missed}; {await member.diagnosis()}") from None


@contextlib.asynccontextmanager
async def running_system(
    directory: Path, *, is_fenced: bool, kind: str = "one"
) -> AsyncIterator[System]:
    """Start everything, and end it at the end of the block, whatever state it is in."""
    with prompted_upstream("--owner=llamacpp") as upstream_url:
        async with ENGINES[kind]() as engine:
            system = _system(directory, engine, upstream_url, is_fenced=is_fenced)
            try:
                for member in system.members:
                    member.start()
                await system.ready()
                yield system
            finally:
                await asyncio.gather(*(_end(member) for member in system.members))


def _system(directory: Path, engine: Engine, upstream_url: str, *, is_fenced: bool) -> System:
    ports = _free_ports(2)
    prepare = None if is_fenced else remove_fences

    def api(number: int, redis_url: str) -> Member:
        return Member(
            f"api-{number}",
            ["api", f"--port={ports[number]}"],
            directory,
            _settings(engine, redis_url, upstream_url),
            lose_pushes if number else None,
        )

    def worker(number: int, redis_url: str) -> Member:
        settings = _settings(engine, redis_url, upstream_url)
        return Member(
            f"worker-{number}", ["worker", f"--slots={_SLOTS}"], directory, settings, prepare
        )

    def command(argv: list[str]) -> Member:
        settings = _settings(engine, engine.url, upstream_url)
        return Member(f"tickertape {argv[0]}", argv, directory, settings)

    url, harmed_url = engine.url, engine.harmed_url
    return System(
        engine=engine,
        upstream_url=upstream_url,
        apis=[api(0, url), api(1, harmed_url)],
        workers=[worker(0, url), worker(1, harmed_url), worker(2, url)],
        api_urls=[f"http://127.0.0.1:{port}" for port in ports],
        command=command,
    )


def _settings(engine: Engine, redis_url: str, upstream_url: str) -> dict[str, str]:
    return {
        "REDIS_URL": redis_url,
        "OPENAI_BASE_URL": upstream_url,
        "OPENAI_API_KEY": "key",
        "TICKERTAPE_API_KEYS": ",".join(f"{tenant}:{key_of(tenant)}" for tenant in TENANTS),
        "TICKERTAPE_LEASE_S": f"{LEASE_S:g}",
        "TICKERTAPE_STALL_S": f"{STALL_S:g}",
        "TICKERTAPE_MAX_CRASHES": str(MAX_CRASHES),
        "TICKERTAPE_TENANT_LIMIT": str(engine.tenant_limit),
        "TICKERTAPE_HEARTBEAT_S": "1",
        "TICKERTAPE_DRAIN_S": "10",
        "TICKERTAPE_DRAIN_DELAY_S": "0.2",
    }


async def _end(member: Member) -> None:
    if member.is_running:
        await member.kill()


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
