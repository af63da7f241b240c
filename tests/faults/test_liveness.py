"""Probes show a process that hangs, and its leases pass to workers that work."""

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, cast

import httpx2
import pytest

from tests.faults.ports import free_port
from tests.support.rig import open_rig, working
from tests.support.running_api import running_api
from tests.support.script import Role, Text, Wait, answer
from tests.support.servers import ValkeyServer
from tests.support.upstream import ScriptedUpstream
from tests.support.wait import wait_until
from tickertape.broker.errors import SettingsInvalid
from tickertape.broker.queue import Queue
from tickertape.runtime.pulse import Pulse
from tickertape.runtime.settings import Settings
from tickertape.worker.assembly import TIMING, WorkerTiming
from tickertape.worker.attempt import Attempt
from tickertape.worker.consumer import ConsumerTiming
from tickertape.worker.job import Job
from tickertape.worker.lease_keeper import LeaseKeeper
from tickertape.worker.main import run
from tickertape.worker.outcome import Outcome
from tickertape.worker.tools import JobTiming

Probed = tuple[int, str]


class Probe:
    """A caller of a worker's probes."""

    def __init__(self, client: httpx2.AsyncClient) -> None:
        self._client = client

    async def get(self, path: str) -> Probed:
        answered = await self._client.get(path)
        return answered.status_code, str(answered.json()["status"])

    async def says(self, path: str, expected: Probed) -> None:
        async def does() -> bool:
            with contextlib.suppress(httpx2.TransportError):
                return await self.get(path) == expected
            return False

        await wait_until(does, timeout_s=15, description=f"{path} to say {expected}")


@contextlib.asynccontextmanager
async def probed_worker(
    redis_url: str,
    upstream: ScriptedUpstream,
    timing: WorkerTiming = TIMING,
    **settings: Any,
) -> AsyncIterator[tuple[Probe, Settings]]:
    port = free_port()
    given = Settings.model_validate(
        {
            "openai_base_url": upstream.base_url,
            "lease_s": 0.6,
            "worker_health_port": port,
            **settings,
        }
    )
    url = f"http://127.0.0.1:{port}"
    async with (
        working(redis_url, given, timing=timing),
        httpx2.AsyncClient(base_url=url, verify=False) as client,
    ):
        yield Probe(client), given


async def hang(*_: object, **__: object) -> None:
    await asyncio.Event().wait()


async def test_a_working_worker_is_healthy_and_ready(
    redis_url: str, upstream: ScriptedUpstream
) -> None:
    async with probed_worker(redis_url, upstream) as (probe, _):
        await probe.says("/readyz", (200, "ok"))
        assert await probe.get("/healthz") == (200, "ok")
        assert (await probe.get("/other"))[0] == 404


async def test_a_worker_without_redis_lives_but_is_not_ready(
    own_redis: ValkeyServer, upstream: ScriptedUpstream
) -> None:
    url = own_redis.url
    own_redis.stop()
    async with probed_worker(url, upstream) as (probe, _):
        await probe.says("/healthz", (200, "ok"))
        assert await probe.get("/readyz") == (503, "starting")
        own_redis.start()
        await probe.says("/readyz", (200, "ok"))
        own_redis.kill()
        await probe.says("/readyz", (503, "not connected to Redis"))
        assert await probe.get("/healthz") == (200, "ok")
        own_redis.start()
        await probe.says("/readyz", (200, "ok"))


async def test_a_worker_whose_redis_hangs_is_not_ready(
    own_redis: ValkeyServer, upstream: ScriptedUpstream
) -> None:
    async with probed_worker(own_redis.url, upstream) as (probe, _):
        await probe.says("/readyz", (200, "ok"))
        own_redis.pause()
        assert (await probe.get("/readyz"))[0] == 503
        own_redis.resume()
        await probe.says("/readyz", (200, "ok"))


async def test_a_worker_whose_claim_loop_hangs_is_not_healthy(
    redis_url: str, upstream: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    timing = WorkerTiming(consumer=ConsumerTiming(silence_limit_s=0.2))
    monkeypatch.setattr(Queue, "claim", hang)
    async with probed_worker(redis_url, upstream, timing) as (probe, _):
        await probe.says("/healthz", (503, "silent: claim"))

        async def is_not_ready() -> bool:
            return (await probe.get("/readyz"))[0] == 503

        await wait_until(is_not_ready, description="the worker is not ready")


async def test_a_worker_whose_lease_loop_hangs_is_not_healthy(
    redis_url: str, upstream: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    timing = WorkerTiming(consumer=ConsumerTiming(renewal_silence_limit_s=0))
    monkeypatch.setattr(LeaseKeeper, "run", hang)
    async with probed_worker(redis_url, upstream, timing) as (probe, _):
        await probe.says("/healthz", (503, "silent: lease"))


async def test_an_api_whose_tail_check_hangs_is_not_ready(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tickertape.api.fanout.hub.Hub._check_tails", hang)
    async with running_api(redis_url, wait_for_redis=False) as api:
        api.services.streams.hub._tail_checks = Pulse(0.2)

        async def is_unready() -> bool:
            return "pushes nothing" in (await api.client.get("/readyz")).text

        await wait_until(is_unready, description="the probe to report that pushes are down")


async def test_a_job_that_hangs_without_a_time_limit_moves_to_another_worker(
    redis_url: str, upstream: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    timing = WorkerTiming(job=JobTiming(overdue_after_s=0.2))
    attempt_run = Attempt.run
    begun: list[Attempt] = []

    async def hang_at_first(self: Attempt) -> Outcome:
        begun.append(self)
        if len(begun) == 1:
            await hang()
        return await attempt_run(self)

    monkeypatch.setattr(Attempt, "run", hang_at_first)
    async with (
        probed_worker(redis_url, upstream, timing, deadline_s=0.5) as (_, settings),
        open_rig(redis_url, settings) as rig,
    ):
        ended = await rig.ended(await rig.ask())
        assert (ended.status, ended.n) == ("completed", 2)


async def test_a_dead_connection_delays_no_renewal_of_other_jobs() -> None:
    renewed: list[str] = []

    class OneHangs:
        async def renew(self, leases: list[SimpleNamespace]) -> list[SimpleNamespace]:
            renewed.extend(lease.request_id for lease in leases)
            if stuck in renewed[-len(leases) :]:
                await hang()
            return []

    class FakeJob:
        is_overdue = False

        def __init__(self, request_id: str) -> None:
            self.lease = SimpleNamespace(request_id=request_id)

    stuck, well = (f"r{n}_{'a' * 26}" for n in range(2))
    keeper = LeaseKeeper(cast("Queue", OneHangs()), lease_s=0.06)
    for request_id in (stuck, well):
        keeper.add(cast("Job", FakeJob(request_id)))
    keeping = asyncio.create_task(keeper.run())
    await wait_until(lambda: renewed.count(well) > 5, description="renewals of the other job")
    assert renewed.count(stuck) == 1
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)


async def test_a_port_for_probes_that_is_taken_stops_the_start(
    redis_url: str, upstream: ScriptedUpstream
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = Settings(worker_health_port=taken.getsockname()[1])
        with pytest.raises(SettingsInvalid, match="TICKERTAPE_WORKER_HEALTH_PORT"):
            await run(settings, redis_url)


async def test_bytes_that_are_not_http_get_no_response_and_do_no_harm(
    redis_url: str, upstream: ScriptedUpstream
) -> None:
    async with probed_worker(redis_url, upstream) as (probe, settings):
        await probe.says("/readyz", (200, "ok"))
        port = settings.worker_health_port
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"x" * 20_000)
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b""
        writer.close()
        assert await probe.get("/healthz") == (200, "ok")


async def test_a_draining_worker_lives_but_is_not_ready(
    redis_url: str, upstream: ScriptedUpstream
) -> None:
    gate = asyncio.Event()
    upstream.script = [Role(), Text("a"), Wait(gate), *answer("b")]
    async with (
        probed_worker(redis_url, upstream) as (probe, settings),
        open_rig(redis_url, settings) as rig,
    ):
        request_id = await rig.ask()
        await rig.shows(request_id, "a")
        os.kill(os.getpid(), signal.SIGTERM)
        await probe.says("/readyz", (503, "draining"))
        assert await probe.get("/healthz") == (200, "ok")
        gate.set()
        assert (await rig.ended(request_id)).status == "completed"
