"""An API, two workers and a `deliver` that a real Prometheus scrapes, and that tests can break."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import redis.asyncio as redis_client

from tests.deploy.prometheus import Prometheus, running_prometheus
from tests.faults.ports import free_port
from tests.support.callers import Caller
from tests.support.deployment import port_of
from tests.support.proxy import FaultProxy
from tests.support.receiver import Receiver, receiving, write_receivers
from tests.support.rig import working
from tests.support.running_api import RunningApi, running_api
from tests.support.servers import ValkeyServer
from tests.support.tasks import running
from tests.support.upstream import ScriptedUpstream
from tests.support.wait import wait_until
from tickertape.deliver.main import run
from tickertape.runtime.settings import Settings

KEY = "the-api-key-of-ada"
UPSTREAM_KEY = "the-key-of-the-upstream"
SLOTS = 4


# Are right when other programs keep the machine busy, which has nothing to do with a fault.
_OF_A_LATE_MACHINE = {"TickertapeLoopLag", "TickertapeRedisSlow"}
_LATE_S = 0.2


class Lateness:
    """A witness of how late the loop of this process is, which is also that of the API."""

    def __init__(self) -> None:
        self.longest_s = 0.0

    async def watch(self) -> None:
        """Measure until cancelled."""
        while True:
            began_s = time.monotonic()
            await asyncio.sleep(0.01)
            self.longest_s = max(self.longest_s, time.monotonic() - began_s)


class Monitored:
    """The parts. The API reaches Redis through `proxy`."""

    def __init__(
        self, redis: ValkeyServer, upstream: ScriptedUpstream, proxy: FaultProxy, folder: Path
    ) -> None:
        self.folder = folder
        self.keys_file = folder / "keys"
        self.cleanups = contextlib.ExitStack()
        self.redis = redis
        self.upstream = upstream
        self.proxy = proxy
        self.ports = [free_port(), free_port()]
        self.deliver_port = free_port()
        self.database = folder / "history.db"
        self.receiver = Receiver()
        self.settings: dict[str, Any] = {
            "lease_s": 1,
            "openai_model": "m",
            "webhooks": folder / "webhooks.toml",
            "history_url": f"sqlite:///{self.database}",
        }
        self.prometheus: Prometheus
        self.api: RunningApi
        self._api = contextlib.AsyncExitStack()
        self._deliver = contextlib.AsyncExitStack()
        self._workers = [contextlib.AsyncExitStack() for _ in self.ports]
        self._healthy_at_s = 0.0
        self.lateness = Lateness()

    async def start_api(self) -> None:
        """Start the API, with one key and a port for operators."""
        url = self.redis.url.replace(f":{self.redis.port}/", f":{self.proxy.port}/")
        headers = {"Authorization": f"Bearer {KEY}"}
        self.keys_file.write_text(f"ada:{KEY}\n", "utf-8")
        given = {**self.settings, "api_keys": f"@{self.keys_file}", "tenant_limit": 1000}
        self.api = await self._api.enter_async_context(
            running_api(url, headers=headers, metrics_port=0, **given)
        )

    async def stop_api(self) -> None:
        await self._api.aclose()

    async def start_worker(self, number: int) -> None:
        """Start a worker on one of both ports."""
        fields = {
            "openai_base_url": self.upstream.base_url, "openai_api_key": UPSTREAM_KEY,
            "worker_health_port": self.ports[number], **self.settings,
        }  # fmt: skip
        worker = working(self.redis.url, Settings.model_validate(fields), slots=SLOTS)
        await self._workers[number].enter_async_context(worker)

    async def start_deliver(self) -> None:
        """Start what hands on, with a receiver and a database."""
        fields = {**self.settings, "deliver_health_port": self.deliver_port}
        program = run(Settings.model_validate(fields), self.redis.url)
        _ = await self._deliver.enter_async_context(running(program))

    async def kill_deliver(self) -> None:
        """Nothing is handed on any more."""
        await self._deliver.aclose()

    async def kill_worker(self, number: int) -> None:
        """A worker that writes nothing any more."""
        await self._workers[number].aclose()

    async def running(self, number: int) -> float:
        """How many requests a worker runs."""
        async with Caller(f"http://127.0.0.1:{self.ports[number]}") as scraper:
            text = (await scraper.client.get("/metrics")).text
        (line,) = [
            line for line in text.splitlines() if line.startswith("tickertape_worker_running ")
        ]
        return float(line.rpartition(" ")[2])

    async def healthy(self) -> None:
        """Wait until Prometheus has seen that all is well."""
        await self.prometheus.scrapes_all()
        self._healthy_at_s = time.monotonic()

    async def has_fired(self) -> set[str]:
        """The alerts since all was well, without those that are right on a machine that is late."""
        fired = await self.prometheus.has_fired(time.monotonic() - self._healthy_at_s)
        return fired - _OF_A_LATE_MACHINE if self.lateness.longest_s > _LATE_S else fired

    async def sees(self, expr: str) -> None:
        """Wait until a query has a result."""

        async def does() -> bool:
            return bool(await self.prometheus.query(expr))

        await wait_until(does, timeout_s=20, description=f"Prometheus to see {expr}")

    async def ask_redis(self, *commands: str) -> None:
        """Send commands to Redis itself, over one connection."""
        async with redis_client.from_url(self.redis.url, single_connection_client=True) as client:
            for each in commands:
                await client.execute_command(*each.split())  # type: ignore[no-untyped-call]

    async def aclose(self) -> None:
        self.cleanups.close()
        for each in (*self._workers, self._deliver, self._api):
            await each.aclose()


@contextlib.asynccontextmanager
async def monitored(redis: ValkeyServer, folder: Path, **settings: Any) -> AsyncIterator[Monitored]:
    """All of it, in good health; `settings` are those of the API and of the workers."""
    async with (
        ScriptedUpstream(api_key=UPSTREAM_KEY) as upstream,
        FaultProxy(redis.port) as proxy,
        contextlib.AsyncExitStack() as stack,
    ):
        parts = Monitored(redis, upstream, proxy, folder)
        parts.settings.update(settings)
        stack.push_async_callback(parts.aclose)
        _ = await stack.enter_async_context(running(parts.lateness.watch()))
        _ = await stack.enter_async_context(receiving(parts.receiver))
        write_receivers(folder / "webhooks.toml", one=parts.receiver.url)
        await parts.start_api()
        await parts.start_deliver()
        for number in range(len(parts.ports)):
            await parts.start_worker(number)
        targets = {
            "tickertape-api": [port_of(parts.api.operators_url)],
            "tickertape-worker": parts.ports,
            "tickertape-deliver": [parts.deliver_port],
        }
        parts.prometheus = await stack.enter_async_context(running_prometheus(folder, targets))
        await parts.healthy()
        yield parts
