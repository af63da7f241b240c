"""A rolling run: every process and Redis are replaced while clients of every wire make calls."""

import asyncio
import contextlib
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.rolling.balancer import Balancer
from tests.rolling.clients import Clients, Heard
from tests.rolling.fleet import Fleet, started, upgrade
from tests.support.callers import Caller
from tests.support.deployment import Deployment
from tests.support.prompted import Plan, PlanFollower
from tests.support.releases import Release, extract_release
from tests.support.sentinel import watched_servers
from tests.support.servers import in_memory, valkey_server
from tests.support.upstream import ScriptedUpstream
from tests.support.wire_calls import FOREGROUND, RESUMING, Ask, agui, many_streams, resuming_agui
from tests.wires.conftest import openai_client

KEY = "the-api-key-of-ada"
_SHOWN = 12
_SDK_RETRIES = 2  # the default of OpenAI's clients
_CALL_LIMIT_S = 300


_LATER = (many_streams, agui, resuming_agui)


@dataclass(frozen=True)
class Recipe:
    """What a run does. `from_version` is the release that runs at first, if it is not this tree."""

    streams: int = 50
    seconds: tuple[float, float] = (5.0, 60.0)
    seed: int = 1
    redis: str = "one"
    from_version: str | None = None
    signal_: signal.Signals = signal.SIGTERM

    @property
    def wires(self) -> tuple[Ask, ...]:
        """The wires that all running processes have; some came after version 0.1.0."""
        every = (*FOREGROUND, *RESUMING)
        return tuple(ask for ask in every if not (self.from_version and ask in _LATER))


@dataclass
class Verdict:
    """What the clients got, and what the upstream was asked."""

    recipe: Recipe
    heard: Heard
    calls_by_prompt: Counter[str]
    steps: list[str] = field(default_factory=list)

    @property
    def paid_twice(self) -> int:
        """How many calls of the upstream came after the first one for the same question."""
        return sum(count - 1 for count in self.calls_by_prompt.values())

    @property
    def lost(self) -> int:
        """How many calls got no whole answer."""
        return self.heard.asked - self.heard.whole.total()

    @property
    def is_clean(self) -> bool:
        """Whether nothing was lost, nothing was paid twice, and every wire was without an error."""
        silent = {ask.__name__ for ask in self.recipe.wires} - set(self.heard.whole)
        return not (self.lost or self.paid_twice or self.heard.odd or silent)

    def report(self) -> str:
        """A readable report."""
        recipe, heard = self.recipe, self.heard
        lines = [
            (
                f"{recipe.streams} streams, answers of {recipe.seconds[0]:g} to"
                f" {recipe.seconds[1]:g} s, seed {recipe.seed}, Redis: {recipe.redis},"
                f" from: {recipe.from_version or 'this tree'}, by {recipe.signal_.name}"
            ),
            *self.steps,
            (
                f"asked {heard.asked}, whole {heard.whole.total()}, calls of the upstream"
                f" {self.calls_by_prompt.total()}, paid twice {self.paid_twice}, errors"
                f" {len(heard.odd)}"
            ),
            ", ".join(f"{wire} {count}" for wire, count in sorted(heard.whole.items())),
            *heard.odd[:_SHOWN],
        ]
        return "\n".join([*lines, "clean" if self.is_clean else "NOT CLEAN"])


@dataclass(frozen=True)
class _Redis:
    """A Redis and its planned restart, or its planned fail-over, as an operator does it."""

    url: str
    restart: Callable[[], Awaitable[None]]


async def run(recipe: Recipe, folder: Path, tell: Callable[[str], None] = print) -> Verdict:
    """Run once and judge. Processes log into `folder`."""
    follower = PlanFollower(Plan())
    async with contextlib.AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(ScriptedUpstream())
        upstream.script = follower.script_for
        redis = stack.enter_context(_REDIS[recipe.redis]())
        made = _Made(stack, folder, redis.url, upstream.base_url)
        now, old = made.deployment(), made.release(recipe.from_version)
        apis, ports, workers = await started(old or now)
        balancer = Balancer(folder, ports)
        stack.callback(balancer.close)
        await balancer.start()
        fleet = Fleet(old or now, balancer, apis, ports, workers, recipe.seconds[1], recipe.signal_)
        verdict = Verdict(recipe, Heard(), follower.calls_by_prompt)
        async with _asking(balancer.url, recipe) as clients:
            verdict.heard = clients.heard
            steps: dict[str, Callable[[], Awaitable[None]]] = {
                "workers restarted": fleet.restart_workers,
                "APIs restarted": fleet.restart_apis,
            }
            if old is not None:
                steps = {"all upgraded": lambda: upgrade(fleet, now)}
            await clients.go_on()
            for name, step in {**steps, "Redis restarted": redis.restart}.items():
                begin_s = time.monotonic()
                await step()
                verdict.steps.append(f"{name} in {time.monotonic() - begin_s:.1f} s")
                tell(verdict.steps[-1])
                await clients.go_on()
            await clients.end()
    return verdict


@contextlib.asynccontextmanager
async def _asking(url: str, recipe: Recipe) -> AsyncIterator[Clients]:
    headers = {"Authorization": f"Bearer {KEY}"}
    async with (
        Caller(url, KEY) as caller,
        openai_client(url, max_retries=_SDK_RETRIES, headers=headers) as sdk,
    ):
        caller.client.timeout = _CALL_LIMIT_S
        clients = Clients(caller, sdk, recipe.wires, recipe.streams, recipe.seconds, recipe.seed)
        try:
            yield clients
        finally:
            await clients.stop()


class _Made:
    """Makes deployments, which end with the run."""

    def __init__(
        self, stack: contextlib.AsyncExitStack, folder: Path, redis_url: str, upstream_url: str
    ) -> None:
        self._stack = stack
        self._folder = folder
        self._settings = {
            "redis_url": redis_url,
            "upstream_url": upstream_url,
            "TICKERTAPE_API_KEYS": f"ada:{KEY}",
            "TICKERTAPE_TRUSTED_PROXIES": "127.0.0.1",
            "TICKERTAPE_DRAIN_S": "90",
            # The default. The proxy takes a process out within 4 s.
            "TICKERTAPE_DRAIN_DELAY_S": "5",
        }

    def deployment(self) -> Deployment:
        """Processes of this tree."""
        return self._closing(Deployment(self._folder, **self._settings))

    def release(self, version: str | None) -> Deployment | None:
        """Processes of an earlier release; None for none."""
        if version is None:
            return None
        tree = extract_release(version, self._folder)
        return self._closing(Release(version, tree, self._folder, **self._settings))

    def _closing(self, deployment: Deployment) -> Deployment:
        self._stack.callback(deployment.close)
        return deployment


@contextlib.contextmanager
def _one_server() -> Iterator[_Redis]:
    with valkey_server(append_only=True, parent=in_memory()) as server:

        async def restart() -> None:
            server.stop()
            # A child process has to be started in the main thread, with which it ends.
            server.start()

        yield _Redis(server.url, restart)


@contextlib.contextmanager
def _sentinel() -> Iterator[_Redis]:
    with watched_servers() as watched:

        async def fail_over() -> None:
            await asyncio.to_thread(watched.hand_over)
            await asyncio.to_thread(watched.become_whole)

        yield _Redis(watched.url, fail_over)


_REDIS = {"one": _one_server, "sentinel": _sentinel}
