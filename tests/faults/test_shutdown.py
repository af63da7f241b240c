"""A signal to end: at the start, in the middle of work, twice, and with Redis unreachable."""

import asyncio
import signal
import time
from pathlib import Path

import pytest

from tests.support.callers import Caller
from tests.support.deployment import Deployment, MakeDeployment
from tests.support.followers import following
from tests.support.programs import Program
from tests.support.script import Role, Text, Wait, answer
from tests.support.servers import ValkeyServer
from tests.support.upstream import ScriptedUpstream
from tests.support.wait import wait_until

pytestmark = pytest.mark.slow

STOPS = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP]


async def end(program: Program, *numbers: signal.Signals) -> tuple[int, float]:
    """Send signals; returns the exit code and the seconds until the end."""
    told_at_s = time.monotonic()
    for number in numbers:
        program.signal(number)
    return await program.ended(), time.monotonic() - told_at_s


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="/proc lists signal handlers")
@pytest.mark.parametrize("name", ["api", "worker"])
async def test_a_process_stopped_before_it_has_started_ends(
    deployment: Deployment, name: str
) -> None:
    program = deployment.start(name, name)

    def heeds_sigterm() -> bool:
        status = Path(f"/proc/{program.process.pid}/status").read_text()
        caught = next(line for line in status.splitlines() if line.startswith("SigCgt:"))
        return bool(int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1)

    await wait_until(heeds_sigterm, description="a handler to be there")
    assert not program.lines()
    code, took_s = await end(program, signal.SIGTERM)
    assert code == 0
    assert took_s < 3


@pytest.mark.parametrize("number", STOPS)
async def test_a_worker_that_waits_for_redis_ends_at_once(
    make_deployment: MakeDeployment, own_redis: ValkeyServer, number: signal.Signals
) -> None:
    deployment = make_deployment()
    own_redis.stop()
    worker = deployment.start_worker()
    waiting = await worker.logged("waiting for Redis")
    assert waiting["address"].startswith("redis://127.0.0.1:")
    code, took_s = await end(worker, number)
    assert code == 0
    assert took_s < 3
    assert len(worker.records("waiting for Redis")) == 1


async def test_a_worker_that_starts_before_redis_works_when_it_comes(
    deployment: Deployment, own_redis: ValkeyServer, upstream: ScriptedUpstream
) -> None:
    own_redis.stop()
    worker = deployment.start_worker()
    await worker.logged("waiting for Redis")
    own_redis.start()
    await worker.logged("working")
    _, url = await deployment.running_api()
    async with Caller(url) as caller, following(caller.stream_url(await caller.submit())) as reader:
        await reader.ends()
        assert reader.text == "Hello, world."


@pytest.mark.parametrize("number", STOPS)
async def test_a_stopping_worker_finishes_its_answers(
    deployment: Deployment, upstream: ScriptedUpstream, number: signal.Signals
) -> None:
    gate = asyncio.Event()
    upstream.script = [Role(), Text("half "), Wait(gate), *answer("whole")]
    (_, url), worker = await asyncio.gather(deployment.running_api(), deployment.running_worker())
    async with Caller(url) as caller, following(caller.stream_url(await caller.submit())) as reader:
        await reader.starts_with("half ")
        worker.signal(number)
        await worker.logged("draining")
        gate.set()
        await reader.ends()
        assert await worker.ended() == 0
        assert reader.text == "half whole"
        assert reader.kinds == ["queued", "started", "completed"]


async def test_a_second_signal_releases_running_requests_at_once(
    deployment: Deployment, upstream: ScriptedUpstream
) -> None:
    upstream.enqueue([Role(), Text("half "), Wait(asyncio.Event())])
    (_, url), worker = await asyncio.gather(deployment.running_api(), deployment.running_worker())
    async with Caller(url) as caller, following(caller.stream_url(await caller.submit())) as reader:
        await reader.starts_with("half ")
        worker.signal(signal.SIGTERM)
        await worker.logged("draining")
        code, took_s = await end(worker, signal.SIGTERM)
        assert code == 0
        assert took_s < 3
        await deployment.running_worker()
        await reader.ends()
        assert reader.text == "Hello, world."
        assert [e.data["reason"] for e in reader.events if e.kind == "reset"] == ["worker_drained"]


async def test_a_worker_whose_redis_hangs_ends_on_a_signal(
    deployment: Deployment, own_redis: ValkeyServer, upstream: ScriptedUpstream
) -> None:
    upstream.enqueue([Role(), Text("half "), Wait(asyncio.Event())])
    (_, url), worker = await asyncio.gather(deployment.running_api(), deployment.running_worker())
    async with Caller(url) as caller, following(caller.stream_url(await caller.submit())) as reader:
        await reader.starts_with("half ")
        own_redis.pause()
        worker.signal(signal.SIGTERM)
        await worker.logged("draining")
        code, took_s = await end(worker, signal.SIGTERM)
        own_redis.resume()
        assert code == 0
        assert took_s < 6
        await deployment.running_worker()
        await reader.ends()
        assert reader.text == "Hello, world."


@pytest.mark.parametrize("number", STOPS)
async def test_an_api_whose_redis_is_unreachable_ends_at_once(
    deployment: Deployment,
    own_redis: ValkeyServer,
    upstream: ScriptedUpstream,
    number: signal.Signals,
) -> None:
    upstream.script = [Role(), Text("half "), Wait(asyncio.Event())]
    (api, url), _ = await asyncio.gather(deployment.running_api(), deployment.running_worker())
    async with Caller(url) as caller, following(caller.stream_url(await caller.submit())) as reader:
        await reader.starts_with("half ")
        own_redis.kill()
        code, took_s = await end(api, number)
        own_redis.start()
        assert code == 0
        assert took_s < 3
        await reader.ends()
