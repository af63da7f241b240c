"""The system of a run: Redis, an upstream, two API processes and three workers, all real.

One API process and one worker reach a single server through a proxy that harms their connections.
That API process also loses pushes. Addresses stay the same over restarts.
"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path

import aiohttp

from tests.chaos.cluster_engine import cluster_engine
from tests.chaos.engine import Engine
from tests.chaos.functions import MODULE, NAMES
from tests.chaos.handing_on import HandingOn, handing_on, hurry
from tests.chaos.lossy_api import lose_pushes
from tests.chaos.members import Member, Prepare
from tests.chaos.one_server import one_server
from tests.chaos.sentinel_engine import sentinel_engine
from tests.chaos.tenants import TENANTS, key_of
from tests.chaos.unsafe_worker import remove_fences
from tests.chaos.upstreams import table_settings, ways_to
from tests.support.proxy import FaultProxy
from tests.support.servers import prompted_upstream
from tests.support.wait import wait_until

LEASE_S = 1.0
STALL_S = 3.0
MAX_CRASHES = 6
MakeEngine = Callable[[], AbstractAsyncContextManager[Engine]]
ENGINES: Mapping[str, MakeEngine] = {
    "one": one_server,
    "sentinel": sentinel_engine,
    "cluster": cluster_engine,
}
_SLOTS = 24
_START_S = 60


@dataclass(frozen=True)
class Recipe:
    """What a run changes: settings, and programs that are changed before they run."""

    settings: Mapping[str, str] = field(default_factory=dict)
    prepare_apis: Sequence[Prepare | None] = (None, lose_pushes)
    prepare_workers: Prepare | None = None
    upstream_options: Sequence[str] = ()
    upstreams: int = 1
    has_functions: bool = False
    hands_on: bool = False

    @property
    def function_modules(self) -> Sequence[str]:
        """What workers are started with."""
        return [MODULE] if self.has_functions else []


WITHOUT_FENCE = Recipe(prepare_workers=remove_fences)


@dataclass(frozen=True)
class System:
    """The parts of a running system."""

    engine: Engine
    directory: Path
    upstream_url: str
    apis: list[Member]
    workers: list[Member]
    api_urls: list[str]
    functions: Sequence[str]
    # A command of an operator, with the settings of a worker.
    command: Callable[[list[str]], Member]
    # With several upstreams, the ways to them. One program behind all of them numbers the calls.
    upstream_proxies: Sequence[FaultProxy] = ()
    delivers: Sequence[Member] = ()
    handing_on: HandingOn | None = None

    @property
    def members(self) -> list[Member]:
        """All Tickertape processes."""
        return [*self.apis, *self.workers, *self.delivers]

    async def ready(self) -> None:
        """Wait until every API process is ready for requests, and knows all functions."""
        async with aiohttp.ClientSession() as session:
            for member, url in zip(self.apis, self.api_urls, strict=True):

                async def is_ready(url: str = url) -> bool:
                    with contextlib.suppress(aiohttp.ClientError):
                        async with session.get(f"{url}/readyz") as answer:
                            return answer.status == 200 and await self._lists_functions(
                                session, url
                            )
                    return False

                try:
                    await wait_until(is_ready, timeout_s=_START_S, description=f"{url} to be ready")
                except AssertionError as missed:
                    raise AssertionError(f"{missed}; {await member.diagnosis()}") from None

    async def _lists_functions(self, session: aiohttp.ClientSession, url: str) -> bool:
        if not self.functions:
            return True
        headers = {"Authorization": f"Bearer {key_of(TENANTS[0])}"}
        async with session.get(f"{url}/v1/models", headers=headers) as answer:
            listed = await answer.json() if answer.status == 200 else {"data": ()}
        models = {model["id"] for model in listed["data"]}
        return models.issuperset(self.functions)


@contextlib.asynccontextmanager
async def running_system(
    directory: Path, recipe: Recipe | None = None, *, engine: MakeEngine = one_server
) -> AsyncIterator[System]:
    """Start everything, and end it at the end of the block, whatever state it is in."""
    recipe = recipe or Recipe()
    with prompted_upstream("--owner=llamacpp", *recipe.upstream_options) as upstream_url:
        async with (
            engine() as redis,
            ways_to(upstream_url, recipe.upstreams) as proxies,
            handing_on(directory, is_on=recipe.hands_on) as parts,
        ):
            settings = {**table_settings(directory, proxies), **(parts.settings if parts else {})}
            changed = replace(recipe, settings={**recipe.settings, **settings})
            system = _system(directory, redis, upstream_url, changed)
            system = replace(system, upstream_proxies=proxies, handing_on=parts)
            try:
                for member in system.members:
                    member.start()
                await system.ready()
                yield system
            finally:
                await asyncio.gather(*(_end(member) for member in system.members))


def _system(directory: Path, engine: Engine, upstream_url: str, recipe: Recipe) -> System:
    ports = _free_ports(2)
    url, harmed_url = engine.url, engine.harmed_url

    def member(name: str, argv: list[str], redis_url: str, prepare: Prepare | None) -> Member:
        settings = {**_settings(engine, redis_url, upstream_url), **recipe.settings}
        return Member(name, argv, directory, settings, prepare)

    def api(number: int, redis_url: str) -> Member:
        argv = ["api", f"--port={ports[number]}"]
        return member(f"api-{number}", argv, redis_url, recipe.prepare_apis[number])

    def worker(number: int, redis_url: str) -> Member:
        argv = ["worker", *recipe.function_modules, f"--slots={_SLOTS}"]
        return member(f"worker-{number}", argv, redis_url, recipe.prepare_workers)

    def deliver(number: int) -> Member:
        return member(f"deliver-{number}", ["deliver"], url, hurry)

    def command(argv: list[str]) -> Member:
        return member(f"tickertape {argv[0]}", argv, engine.url, None)

    return System(
        engine=engine,
        directory=directory,
        upstream_url=upstream_url,
        apis=[api(0, url), api(1, harmed_url)],
        workers=[worker(0, url), worker(1, harmed_url), worker(2, url)],
        api_urls=[f"http://127.0.0.1:{port}" for port in ports],
        functions=NAMES if recipe.has_functions else (),
        command=command,
        delivers=[deliver(0), deliver(1)] if recipe.hands_on else [],
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
