"""What operators see: the numbers of the whole deployment, a verdict, and "no worker"."""

import asyncio
import time
from contextlib import aclosing
from typing import Any

import msgspec
import pytest
import structlog
from redis import Redis

from tests.support.given_settings import GivenSettings
from tests.support.rig import Rig, working
from tests.support.running_api import RunningApi, running_api
from tests.support.script import Finish, Status, Text, Wait
from tests.support.servers import ValkeyServer
from tests.support.sse import follow
from tests.support.upstream import ScriptedUpstream
from tests.support.wait import wait_until
from tickertape.api.fleet_status import status_of
from tickertape.api.fleet_watch import NoWorker
from tickertape.api.services import ApiTiming
from tickertape.broker.fleet import Fleet, Members, Seen, WorkerReport
from tickertape.broker.queue_depth import LastClaim, QueueDepth
from tickertape.worker.assembly import WorkerTiming

FAST = ApiTiming(fleet_interval_s=0.05, no_worker_after_s=0.2, position_interval_s=0.05)
FAST_WORKER = WorkerTiming(report_interval_s=0.05)
WORKER = Seen(WorkerReport(slots=8, running=2), 0.5)
DRAINING = Seen(WorkerReport(slots=8, running=2, is_draining=True), 0.5)


async def status(api: RunningApi) -> dict[str, Any]:
    reply = await api.client.get("/status.json")
    assert reply.status_code == 200
    return dict(reply.json())


def problems(status: dict[str, Any]) -> list[str]:
    return [problem["code"] for problem in status["problems"]]


def queue(**fields: Any) -> QueueDepth:
    nothing = {
        "waiting": 0, "running": 0, "delayed": 0, "held": 0, "dead": 0,
        "oldest_s": None, "claimed_s": 1000.0, "now_s": 1000.5,
    }  # fmt: skip
    return QueueDepth(**(nothing | fields))


@pytest.mark.parametrize(
    ("members", "depth", "fault", "redis_ms", "expected"),
    [
        (Members([WORKER]), queue(), None, 1, []),
        (Members([WORKER]), queue(claimed_s=10), None, 1, []),
        # A worker of an older version writes no report, and asks for work every second.
        (Members(), queue(), None, 1, []),
        (Members(), queue(claimed_s=900), None, 1, ["no_worker"]),
        (Members(), queue(claimed_s=None), None, 1, ["no_worker"]),
        (Members([DRAINING]), queue(claimed_s=900), None, 1, ["no_worker"]),
        (Members([WORKER]), queue(oldest_s=10), None, 1, []),
        (Members([WORKER]), queue(oldest_s=11), None, 1, ["long_wait"]),
        (Members([WORKER]), queue(), "The upstream cannot be reached.", 1, ["upstream"]),
        (Members([WORKER]), queue(), None, 300, ["redis_slow"]),
        (Members(), queue(claimed_s=900, oldest_s=90), "x", 300,
         ["no_worker", "long_wait", "upstream", "redis_slow"]),
    ],
)  # fmt: skip
def test_the_verdict_names_everything_that_is_wrong(
    members: Members, depth: QueueDepth, fault: str | None, redis_ms: float, expected: list[str]
) -> None:
    found = status_of(members, depth, fault, redis_ms)
    assert [problem.code for problem in found.problems] == expected
    assert found.verdict == ("problems" if expected else "ok")


def test_no_worker_is_said_after_some_patience_and_with_the_last_sign() -> None:
    no_worker = NoWorker(patience_s=6)
    assert no_worker.look(Members(), LastClaim(claimed_s=100, now_s=1000)) is None
    assert no_worker.look(Members(), LastClaim(claimed_s=100, now_s=1005)) is None
    assert no_worker.look(Members(), LastClaim(claimed_s=100, now_s=1006)) == 100
    assert no_worker.look(Members([WORKER]), LastClaim(claimed_s=100, now_s=1008)) is None
    assert no_worker.look(Members(), LastClaim(claimed_s=1010, now_s=1012)) is None


def test_where_there_never_was_a_worker_the_first_look_counts() -> None:
    no_worker = NoWorker(patience_s=6)
    assert no_worker.look(Members(), LastClaim(claimed_s=None, now_s=1000)) is None
    assert no_worker.look(Members(), LastClaim(claimed_s=None, now_s=1007)) == 1000


async def test_the_status_shows_a_worker_that_works(
    redis_url: str, upstream: ScriptedUpstream, worker: Rig
) -> None:
    rest = asyncio.Event()
    upstream.enqueue([Text("a"), Wait(rest), Finish()])
    settings = GivenSettings(openai_base_url=upstream.base_url, openai_model="m")
    async with (
        running_api(redis_url, timing=FAST) as api,
        working(redis_url, settings, slots=3, timing=FAST_WORKER),
    ):
        await worker.ask()

        async def is_shown() -> bool:
            found = await status(api)
            return [(w["slots"], w["running"]) for w in found["workers"]] == [(3, 1)]

        await wait_until(is_shown, description="the worker in the status")
        found = await status(api)
        assert (found["verdict"], found["api_processes"]) == ("ok", 1)
        assert found["queue"]["running"] == 1
        rest.set()


async def test_a_refused_key_of_the_server_is_in_the_status(
    redis_url: str, upstream: ScriptedUpstream, worker: Rig
) -> None:
    refused = {"error": {"message": "Incorrect API key provided: sk-abcdefgh", "code": "x"}}
    upstream.enqueue([Status(401, {}, refused)])
    settings = GivenSettings(openai_base_url=upstream.base_url, openai_model="m")
    async with (
        running_api(redis_url, timing=FAST) as api,
        working(redis_url, settings, timing=FAST_WORKER),
    ):
        await worker.ended(await worker.ask())

        async def is_shown() -> bool:
            return problems(await status(api)) == ["upstream"]

        await wait_until(is_shown, description="the refusal in the status")
        (problem,) = (await status(api))["problems"]
        assert problem["message"] == "The server's key for its model provider was refused."


async def test_a_waiting_reader_learns_that_no_worker_is_at_work_and_that_one_came(
    redis_url: str, upstream: ScriptedUpstream
) -> None:
    settings = GivenSettings(openai_base_url=upstream.base_url, openai_model="m")
    with structlog.testing.capture_logs() as logged:
        async with running_api(redis_url, timing=FAST) as api:
            request_id = await api.submit()
            url = f"{api.url}/chat/{request_id}/stream"
            since = None
            async with aclosing(follow(url)) as events:
                async for event in events:
                    since = event.data.get("no_worker_since")
                    if event.kind == "position" and since is not None:
                        break
            assert isinstance(since, int)
            assert problems(await status(api)) == ["no_worker"]
            async with working(redis_url, settings, timing=FAST_WORKER):
                await wait_until(
                    lambda: api.services.fleet.no_worker_since is None, description="the worker"
                )
    said = [line["event"] for line in logged if "asks for work" in line["event"]]
    assert said[:2] == ["no worker asks for work", "a worker asks for work again"]


async def test_many_viewers_cost_one_read(api: RunningApi, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = 0
    members = Fleet.members

    async def counted(fleet: Fleet) -> Members:
        nonlocal reads
        reads += 1
        return await members(fleet)

    reader = api.services.fleet_status
    monkeypatch.setattr(reader, "_fleet", fleet := Fleet(api.services.connections))
    monkeypatch.setattr(fleet, "members", lambda: counted(fleet))
    began_s = time.monotonic()
    seen = await asyncio.gather(*(status(api) for _ in range(50)))
    # One read in a second; a busy machine may need several seconds for the calls.
    assert 1 <= reads <= 1 + (time.monotonic() - began_s)
    assert len({msgspec.json.encode(each) for each in seen}) <= reads


async def test_the_status_needs_a_key_where_the_api_needs_one(redis_url: str) -> None:
    async with running_api(redis_url, api_keys="acme:secret-of-acme-01") as api:
        assert (await api.client.get("/status.json")).status_code == 401
        headers = {"Authorization": "Bearer secret-of-acme-01"}
        assert (await api.client.get("/status.json", headers=headers)).status_code == 200


async def test_an_absent_redis_is_part_of_the_status(own_redis: ValkeyServer) -> None:
    async with running_api(own_redis.url) as api:
        own_redis.stop()
        found = await status(api)
    assert (found["verdict"], problems(found)) == ("problems", ["redis_unavailable"])
    assert found["queue"] is None


async def test_foreign_data_harms_neither_the_process_nor_its_requests(redis_url: str) -> None:
    with Redis.from_url(redis_url) as client:
        client.set("{p0}:fleet", "of another type")
    async with running_api(redis_url, timing=FAST) as api:
        assert problems(await status(api)) == ["redis_unavailable"]
        await api.submit()
        assert api.problems == []
    with Redis.from_url(redis_url) as client:
        # A process that ends closes its connections, also if its report cannot be withdrawn.
        assert len(client.client_list()) == 1
