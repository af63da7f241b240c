"""What keeps processes from their work is caused for real, and each probe, log and metric names it.

The API stays ready while it can still read and cancel. The worker is ready only if it can generate.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any, NamedTuple

import httpx2
import pytest
import structlog
from redis import Redis
from structlog.typing import EventDict

from tests.faults.ports import free_port
from tests.support.accounts import ALL, limited_account
from tests.support.cluster import Cluster, valkey_cluster
from tests.support.deployment import port_of
from tests.support.proxy import FaultProxy
from tests.support.rig import working
from tests.support.running_api import RunningApi, running_api
from tests.support.server_programs import OLD_REDIS, packaged_server
from tests.support.servers import PROGRAM_VARIABLE, ValkeyServer, valkey_server
from tests.support.upstream import ScriptedUpstream
from tests.support.wait import wait_until
from tickertape.api.services import ApiTiming
from tickertape.runtime.settings import Settings
from tickertape.worker.assembly import WorkerTiming
from tickertape.worker.model_watch import ModelWatchTiming

pytestmark = pytest.mark.slow

LOOK_S = 0.1
API_TIMING = ApiTiming(look_interval_s=LOOK_S, fleet_interval_s=0.2, no_worker_after_s=1.0)
WORKER_TIMING = WorkerTiming(
    look_interval_s=LOOK_S, models=ModelWatchTiming(retry_s=0.2, again_s=0.2)
)


class Seen(NamedTuple):
    """What a probe said: its status, its words, and the words of its conditions by code."""

    status: int
    words: str
    conditions: dict[str, str]


class System:
    """An API and a worker, and their probes."""

    def __init__(self, api: RunningApi, worker_url: str, logged: list[EventDict]) -> None:
        self.api = api
        self.logged = logged
        self._worker_url = worker_url

    async def of_api(self) -> Seen:
        answer = await self.api.client.get("/readyz")
        body = answer.json()
        words = body["error"]["message"] if answer.status_code == 503 else body["status"]
        return Seen(answer.status_code, words, _by_code(body))

    async def of_worker(self) -> Seen:
        async with httpx2.AsyncClient(verify=False) as client:
            answer = await client.get(f"{self._worker_url}/readyz")
        body = answer.json()
        return Seen(answer.status_code, body["status"], _by_code(body))

    async def api_has(self, code: str) -> bool:
        text = (await self.api.client.get("/metrics")).text
        return f'tickertape_condition{{code="{code}"}} 1.0' in text

    async def worker_has(self, code: str) -> bool:
        async with httpx2.AsyncClient(verify=False) as client:
            text = (await client.get(f"{self._worker_url}/metrics")).text
        return f'tickertape_condition{{code="{code}"}} 1.0' in text

    def changes(self, code: str) -> list[str]:
        return [line["event"] for line in self.logged if line.get("code") == code]

    async def is_well(self) -> None:
        async def are_ready() -> bool:
            with contextlib.suppress(httpx2.TransportError):
                seen = await self.of_api(), await self.of_worker()
                return [(each.status, each.conditions) for each in seen] == [(200, {})] * 2
            return False

        await wait_until(are_ready, timeout_s=20, description="API and worker are ready")

    async def both_have(self, code: str) -> None:
        async def have() -> bool:
            return await self.api_has(code) and await self.worker_has(code)

        await wait_until(have, timeout_s=20, description=f"both metrics have {code}")


def _by_code(body: dict[str, Any]) -> dict[str, str]:
    return {each["code"]: each["message"] for each in body.get("conditions", [])}


@contextlib.asynccontextmanager
async def system(url: str, base_url: str) -> AsyncIterator[System]:
    port = free_port()
    given: dict[str, Any] = {"openai_base_url": base_url, "lease_s": 5.0}
    settings = Settings.model_validate({**given, "worker_health_port": port})
    with structlog.testing.capture_logs() as logged:
        async with (
            running_api(url, timing=API_TIMING, **given) as api,
            working(url, settings, timing=WORKER_TIMING),
        ):
            running = System(api, f"http://127.0.0.1:{port}", logged)
            await running.is_well()
            logged.clear()
            yield running


async def until(does: Callable[[Seen], bool], look: Any, description: str) -> Seen:
    seen: list[Seen] = []

    async def is_so() -> bool:
        seen[:] = [await look()]
        return does(seen[0])

    await wait_until(is_so, timeout_s=20, description=description)
    return seen[0]


async def test_a_full_memory_stops_the_worker_and_leaves_the_api_ready(
    own_redis: ValkeyServer, upstream: ScriptedUpstream
) -> None:
    async with system(own_redis.url, upstream.base_url) as running:
        with Redis.from_url(own_redis.url) as client:
            client.config_set("maxmemory", "1")
            await running.both_have("memory_full")
            of_api, of_worker = await running.of_api(), await running.of_worker()
            client.config_set("maxmemory", "0")
        assert (of_api.status, of_worker.status) == (200, 503)
        for words in (of_api.conditions["memory_full"], of_worker.words):
            assert "OOM command not allowed when used memory > 'maxmemory'" in words
        await running.is_well()
        assert sorted(running.changes("memory_full")) == [
            *["a condition began"] * 2,
            *["a condition ended"] * 2,
        ]


async def test_a_replica_makes_api_and_worker_not_ready(
    own_redis: ValkeyServer, upstream: ScriptedUpstream
) -> None:
    async with system(own_redis.url, upstream.base_url) as running:
        with Redis.from_url(own_redis.url) as client:
            client.replicaof("127.0.0.1", "1")
            await running.both_have("read_only")
            for seen in (await running.of_api(), await running.of_worker()):
                assert seen.status == 503
                assert "READONLY You can't write against a read only replica" in seen.words
            client.replicaof("NO", "ONE")
        await running.is_well()
    # The part that renews connections logs this, once for each process.
    refused = [
        line["reason"] for line in running.logged if line["event"] == "Redis takes no writes"
    ]
    assert len(refused) == 2


async def test_a_right_that_is_taken_away_makes_api_and_worker_not_ready(
    redis_url: str, upstream: ScriptedUpstream
) -> None:
    with limited_account(redis_url, *ALL) as account:
        async with system(account.url, upstream.base_url) as running:
            account.allow(*ALL, "-xadd")
            await running.both_have("rights")
            for seen in (await running.of_api(), await running.of_worker()):
                assert seen.status == 503
                assert seen.words == "Redis denies access: this account may not run XADD"
            account.allow(*ALL)
            await running.is_well()
            assert sorted(running.changes("rights")) == [
                *["a condition began"] * 2,
                *["a condition ended"] * 2,
            ]
    assert "sesame" not in str(running.logged)


async def test_a_server_that_is_replaced_by_an_old_one_makes_api_and_worker_not_ready(
    upstream: ScriptedUpstream,
) -> None:
    with contextlib.ExitStack() as stack:
        new = stack.enter_context(valkey_server())
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(PROGRAM_VARIABLE, str(packaged_server(OLD_REDIS)))
            old = stack.enter_context(valkey_server())
        with Redis.from_url(old.url) as admin, Redis.from_url(new.url) as other:
            password = new.url.partition("@")[0].rpartition(":")[2]
            admin.config_set("requirepass", password)
            assert other.ping()
        async with FaultProxy(new.port) as proxy:
            url = new.url.replace(f":{new.port}/", f":{proxy.port}/")
            async with system(url, upstream.base_url) as running:
                proxy.lead_to(old.port)
                await running.both_have("old_server")
                for seen in (await running.of_api(), await running.of_worker()):
                    assert seen.status == 503
                    assert "has no SPUBLISH and no SSUBSCRIBE: use Redis 7.0" in seen.words
                proxy.lead_to(new.port)
                await running.is_well()
                assert sorted(running.changes("old_server")) == [
                    *["a condition began"] * 2,
                    *["a condition ended"] * 2,
                ]


@pytest.fixture
def cluster() -> Any:
    with valkey_cluster(replicas=0) as running:
        yield running


async def test_a_node_of_a_cluster_that_hangs_is_named_and_the_others_are_used(
    cluster: Cluster, upstream: ScriptedUpstream
) -> None:
    async with system(cluster.url, upstream.base_url) as running:
        for node in cluster.masters():
            node.call("CONFIG", "SET", "cluster-require-full-coverage", "no")
        hanging = cluster.owner_of(0)
        hanging.pause()
        try:
            await running.both_have("cluster_node")
            seen = await running.of_api()
            assert seen.status == 200
            assert f"The node 127.0.0.1:{hanging.port} of the cluster" in str(seen.conditions)
        finally:
            hanging.resume()
        await running.is_well()
        assert set(running.changes("cluster_node")) == {"a condition began", "a condition ended"}


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("upstream_key", "The server's key for its model provider was refused."),
        ("no_upstream", "The upstream cannot be reached."),
    ],
)
async def test_an_upstream_that_fails_all_requests_stops_the_worker_and_is_named_by_the_api(
    redis_url: str, upstream: ScriptedUpstream, code: str, words: str
) -> None:
    port = port_of(upstream.base_url.removesuffix("/v1"))
    async with FaultProxy(port) as proxy:
        base_url = upstream.base_url.replace(f":{port}", f":{proxy.port}")
        async with system(redis_url, base_url) as running:
            if code == "upstream_key":
                upstream.models_status = 401
            else:
                proxy.lead_to(free_port())
            await running.both_have(code)
            of_api, of_worker = await running.of_api(), await running.of_worker()
            assert (of_api.status, of_api.conditions[code]) == (200, words)
            assert (of_worker.status, code in of_worker.conditions) == (503, True)
            upstream.models_status = 200
            proxy.lead_to(port)
            await running.is_well()
            assert running.changes(code) == ["a condition began", "a condition ended"]


async def test_an_api_that_has_seen_no_worker_for_a_while_names_that(redis_url: str) -> None:
    with structlog.testing.capture_logs() as logged:
        async with running_api(redis_url, timing=API_TIMING) as api:
            running = System(api, "", logged)
            seen = await until(
                lambda seen: "no_worker" in seen.conditions, running.of_api, "no worker"
            )
            assert seen.status == 200
            assert "No worker has asked for work since 20" in seen.conditions["no_worker"]
            assert await running.api_has("no_worker")
    assert [line["event"] for line in logged].count("no worker asks for work") == 1


async def test_a_redis_that_hangs_is_logged_once_and_so_is_its_return(
    own_redis: ValkeyServer, upstream: ScriptedUpstream
) -> None:
    async with system(own_redis.url, upstream.base_url) as running:
        own_redis.pause()
        await asyncio.sleep(0)
        await running.worker_has("redis_silent")
        await until(lambda seen: seen.status == 503, running.of_api, "the API is not ready")
        await until(lambda seen: seen.status == 503, running.of_worker, "nor is the worker")
        own_redis.resume()
        await running.is_well()
        assert sorted(running.changes("redis_silent")) == [
            *["a condition began"] * 2,
            *["a condition ended"] * 2,
        ]
