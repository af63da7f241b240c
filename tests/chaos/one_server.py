"""One Valkey server, which is killed and paused, and a proxy that harms connections to it."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Sequence

from tests.chaos.engine import Engine, Schedule
from tests.chaos.history import History
from tests.support.keyspace import KEYS
from tests.support.proxy import FaultProxy
from tests.support.servers import ValkeyServer, lossless_server
from tickertape.broker.connections import Connections
from tickertape.broker.errors import Unavailable

# Leases that ran out while the server was away are given this time.
_RECOVERS_WITHIN_S = 1.0
_TIME_OUT_S = 5.0


class OneServer:
    """One server. Nothing that it acknowledged is ever lost."""

    kind = "one"
    keys = KEYS
    sizes: Sequence[int] = (1, 3, 8)
    partitions = max(sizes)
    tenant_limit = 40

    def __init__(self, server: ValkeyServer, proxy: FaultProxy) -> None:
        self.server = server
        self.proxy = proxy
        self.url = server.url
        self.harmed_url = server.url.replace(f":{server.port}/", f":{proxy.port}/")
        self._lock = asyncio.Lock()

    def faults(self, history: History) -> Schedule:
        """Kills, pauses, and every harm that a network does."""
        acts = _Faults(self, history)
        return {
            "redis killed": (16, acts.kill),
            "redis paused": (24, acts.pause),
            "pushes cut off": (9, acts.cut_pushes),
            "scripts forgotten": (11, acts.forget_scripts),
            "connections reset": (9, acts.reset_connections),
            "connections swallowed": (21, acts.swallow_connections),
            "connections slow": (17, acts.slow_connections),
            "reply lost": (6, acts.lose_reply),
        }

    async def mend(self) -> None:
        """Resume the server and clear the proxy."""
        self.server.resume()
        self.proxy.is_blackhole = False
        self.proxy.delay_s = 0

    def server_url(self, partition: int) -> str:
        """The only server."""
        del partition
        return self.url

    @contextlib.asynccontextmanager
    async def alone(self) -> AsyncIterator[ValkeyServer]:
        """The server, which no other fault harms during the block."""
        async with self._lock:
            yield self.server


class _Faults:
    """The faults, one method each, which record when the system is excused from its duties."""

    def __init__(self, engine: OneServer, history: History) -> None:
        self._engine = engine
        self._history = history

    async def kill(self, rng: random.Random) -> bool:
        async with self._engine.alone() as server:
            with self._history.trouble("redis killed"):
                server.kill()
                try:
                    await asyncio.sleep(rng.uniform(0.1, 2))
                finally:
                    server.start()
                await asyncio.sleep(_RECOVERS_WITHIN_S)
        return True

    async def pause(self, rng: random.Random) -> bool:
        async with self._engine.alone() as server:
            with self._history.trouble("redis paused"):
                server.pause()
                try:
                    await asyncio.sleep(rng.uniform(0.3, 4))
                finally:
                    server.resume()
        return True

    async def cut_pushes(self, rng: random.Random) -> bool:
        return await self._ask("CLIENT", "KILL", "TYPE", "pubsub")

    async def forget_scripts(self, rng: random.Random) -> bool:
        return await self._ask("SCRIPT", "FLUSH")

    async def reset_connections(self, rng: random.Random) -> bool:
        self._engine.proxy.reset_all()
        return True

    async def lose_reply(self, rng: random.Random) -> bool:
        """The next script called through the proxy is run, and its reply is lost."""
        self._engine.proxy.lose_reply_to(b"EVALSHA")
        return True

    async def swallow_connections(self, rng: random.Random) -> bool:
        with self._history.trouble("connections swallowed"):
            self._engine.proxy.is_blackhole = True
            try:
                await asyncio.sleep(rng.uniform(0.2, 2))
            finally:
                self._engine.proxy.is_blackhole = False
            # Connections that lost bytes stay dead until their time-out.
            await asyncio.sleep(_TIME_OUT_S)
        return True

    async def slow_connections(self, rng: random.Random) -> bool:
        with self._history.trouble("connections slow"):
            self._engine.proxy.delay_s = rng.uniform(0.01, 0.1)
            try:
                await asyncio.sleep(rng.uniform(1, 3))
            finally:
                self._engine.proxy.delay_s = 0
        return True

    async def _ask(self, *command: str) -> bool:
        # Not redis-py by itself, in which the cancellation at the end of a run can vanish: then the
        # fault would be repeated without limit.
        async with contextlib.aclosing(Connections(self._engine.url)) as connections:
            try:
                await connections.ask(*command)
            except Unavailable:
                return False
        return True


@contextlib.asynccontextmanager
async def one_server() -> AsyncIterator[Engine]:
    """Run the server and the proxy for the length of the block."""
    with lossless_server() as server:
        async with FaultProxy(server.port) as proxy:
            yield OneServer(server, proxy)


@contextlib.asynccontextmanager
async def whole_server() -> AsyncIterator[Engine]:
    """Run a server that every process reaches directly."""
    async with one_server() as engine:
        engine.harmed_url = engine.url
        yield engine
