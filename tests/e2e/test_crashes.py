"""A process dies in the middle of an answer, and nobody who reads it loses or repeats a byte."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import redis

from tests.e2e.commands import open_screen, running
from tests.e2e.conftest import Figure
from tests.support.callers import Caller
from tests.support.deployment import Deployment, MakeDeployment, port_of
from tests.support.followers import following
from tests.support.programs import Program
from tests.support.prompted import Plan, PlanFollower
from tests.support.script import Text, Wait, answer
from tests.support.servers import ValkeyServer, valkey_server
from tests.support.sse import collect, text_of
from tests.support.upstream import ScriptedUpstream
from tests.support.wait import wait_until

pytestmark = pytest.mark.slow

LEASE_S = 1


@pytest.mark.parametrize("lease_s", [1, 5])
async def test_a_killed_worker_s_request_is_taken_over_within_the_lease_and_a_second(
    make_deployment: MakeDeployment, upstream: ScriptedUpstream, figure: Figure, lease_s: int
) -> None:
    deployment = make_deployment(TICKERTAPE_LEASE_S=str(lease_s))
    upstream.enqueue([Text("half of "), Text("it"), Wait(asyncio.Event())])
    upstream.script = answer(["the ", "whole ", "answer"])
    (_, url), *workers = await asyncio.gather(
        deployment.running_api(), deployment.running_worker(), deployment.running_worker()
    )
    async with Caller(url) as caller:
        request_id = await caller.submit()
        stream = caller.stream_url(request_id)
        async with following(stream) as reader, following(stream) as other:
            await reader.starts_with("half of it")
            owner = _owner(workers, request_id)
            killed_at_s = time.monotonic()
            await owner.kill()
            await reader.ends(timeout_s=lease_s + 10)
            await other.ends()

        taken_over_s = upstream.calls[1].started_at_s - killed_at_s
        figure(f"taken over after (s, bound {lease_s + 1})", round(taken_over_s, 2))
        assert taken_over_s < lease_s + 1
        assert reader.kinds == ["queued", "started", "reset", "completed"]
        assert reader.text == "the whole answer"
        assert other.events == reader.events == await collect(stream)
        record = await caller.read(request_id)
        assert (record["text"], record["n"]) == ("the whole answer", 2)
        assert len(upstream.calls) == 2


def _owner(workers: list[Program], request_id: str) -> Program:
    [owner] = [w for w in workers if w.records("attempt begun", request_id=request_id)]
    return owner


async def test_a_killed_api_costs_a_chat_in_a_pipe_no_byte(
    deployment: Deployment, upstream: ScriptedUpstream
) -> None:
    plan = Plan(deltas=200, rate_per_s=80)
    upstream.script = PlanFollower(plan).script_for
    (api, url), _ = await asyncio.gather(deployment.running_api(), deployment.running_worker())
    async with running(url, "chat", plan.prompt()) as chat:
        assert chat.stdout is not None
        first = await chat.stdout.readexactly(len(plan.text()) // 4)
        await api.kill()
        await deployment.running_api(port=port_of(url))
        rest, _ = await chat.communicate()
    assert (first + rest).decode() == plan.text()
    assert chat.returncode == 0
    assert len(upstream.calls) == 1


async def test_a_killed_api_costs_a_chat_on_a_terminal_no_byte(
    deployment: Deployment, upstream: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = Plan(deltas=200, rate_per_s=80)
    upstream.script = PlanFollower(plan).script_for
    (api, url), _ = await asyncio.gather(deployment.running_api(), deployment.running_worker())
    monkeypatch.setenv("TERM", "dumb")  # other terminals get Markdown, whose lines are drawn again
    with open_screen() as screen:
        async with running(url, "chat", plan.prompt(), terminal=screen.slave) as chat:
            await wait_until(lambda: len(screen.shown) > 200, description="chat to type")
            await api.kill()
            await deployment.running_api(port=port_of(url))
            assert await chat.wait() == 0
        await wait_until(
            lambda: screen.shown.endswith(b"\r\n"), timeout_s=30, description="the line to end"
        )
        typed = screen.shown
    # A line also ends where `watch` reported a longer outage.
    assert typed.replace(b"\r\n", b"").decode() == plan.text()
    assert screen.pieces > 20


@pytest.mark.parametrize("outage_s", [0, 3 * LEASE_S])
async def test_redis_killed_in_mid_answer_and_started_again_costs_no_byte(
    deployment: Deployment,
    upstream: ScriptedUpstream,
    own_redis: ValkeyServer,
    figure: Figure,
    outage_s: float,
) -> None:
    plan = Plan(deltas=500, rate_per_s=100)
    upstream.script = PlanFollower(plan).script_for
    (_, url), _ = await asyncio.gather(deployment.running_api(), deployment.running_worker())
    async with Caller(url) as caller:
        request_id = await caller.submit()
        stream = caller.stream_url(request_id)
        async with following(stream) as reader, following(stream) as other:
            await reader.starts_with(plan.text()[:500])
            own_redis.kill()
            killed_at_s = time.monotonic()
            await wait_until(
                lambda: time.monotonic() > killed_at_s + outage_s, description="the outage to end"
            )

            async def is_not_ready() -> bool:  # a look of the API is good for a second
                return (await caller.client.get("/readyz")).status_code == 503

            await wait_until(is_not_ready, description="the API to notice")
            seen = len(reader.text)
            own_redis.start()
            started_at_s = time.monotonic()
            await wait_until(lambda: len(reader.text) > seen, description="reading to go on")
            figure("reading went on after (s)", round(time.monotonic() - started_at_s, 2))
            await reader.ends()
            await other.ends()
        assert reader.text == other.text == plan.text()
        assert reader.kinds == other.kinds == ["queued", "started", "completed"]
        assert (await caller.read(request_id))["text"] == plan.text()
        assert text_of(await collect(stream)) == plan.text()
    assert len(upstream.calls) == 1


async def test_what_redis_lost_is_begun_again_and_read_whole(
    forgetful_redis: ValkeyServer, upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    plan = Plan(deltas=300, rate_per_s=100)
    upstream.script = PlanFollower(plan).script_for
    deployment = Deployment(tmp_path, redis_url=forgetful_redis.url, upstream_url=upstream.base_url)
    with closing(deployment):
        (_, url), _ = await asyncio.gather(deployment.running_api(), deployment.running_worker())
        async with Caller(url) as caller:
            request_id = await caller.submit()
            stream = caller.stream_url(request_id)
            async with following(stream) as reader:
                await reader.starts_with(plan.text()[:400])
                with redis.Redis.from_url(forgetful_redis.url) as client:
                    client.save()
                await reader.starts_with(plan.text()[:800])
                forgetful_redis.kill()
                forgetful_redis.start()
                await reader.ends()
            assert reader.text == plan.text()
            # What was lost is taken back before what is left of it is begun again.
            replayed = ["rewind", "queued", "started", "reset", "completed"]
            assert reader.kinds == ["queued", "started", *replayed]
            assert text_of(await collect(stream)) == plan.text()
            record = await caller.read(request_id)
        assert (record["text"], record["n"]) == (plan.text(), 2)


@pytest.fixture
def forgetful_redis() -> Iterator[ValkeyServer]:
    """After a kill it is back where it was saved last."""
    with valkey_server() as server:
        yield server
