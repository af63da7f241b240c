"""The operator's view: probes, metrics, and a Redis that starts late, fails or disagrees."""

import asyncio

import pytest
import structlog

from tests.support.rig import Rig
from tests.support.running_api import RunningApi, running_api
from tests.support.servers import ValkeyServer
from tests.support.wait import wait_until
from tickertape.api.app import create_app
from tickertape.broker import short_outage
from tickertape.broker.agreement import Agreement, Format
from tickertape.broker.errors import SettingsInvalid
from tickertape.broker.request_ids import partition_of
from tickertape.broker.work_check import WorkCheck
from tickertape.runtime.conditions import Condition
from tickertape.runtime.settings import Settings


async def metric(api: RunningApi, line: str) -> float:
    text = (await api.client.get("/metrics")).text
    found = [row for row in text.splitlines() if row.startswith(f"{line} ")]
    assert found, f"no {line} in the metrics"
    return float(found[0].rpartition(" ")[2])


async def test_a_ready_process_passes_both_probes(api: RunningApi) -> None:
    for path in ("/healthz", "/readyz"):
        answer = await api.client.get(path)
        assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


async def test_a_process_that_drains_is_alive_but_not_ready(api: RunningApi) -> None:
    api.services.streams.announce()
    assert (await api.client.get("/healthz")).status_code == 200
    answer = await api.client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "draining"


async def test_strangers_that_probe_often_cost_redis_no_more_than_one(
    api: RunningApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[WorkCheck] = []

    async def conditions(check: WorkCheck) -> list[Condition]:
        looks.append(check)
        return []

    monkeypatch.setattr(WorkCheck, "conditions", conditions)
    answers = await asyncio.gather(*(api.client.get("/readyz") for _ in range(30)))
    assert {answer.status_code for answer in answers} == {200}
    assert len(looks) <= 10


async def test_foreign_data_in_place_of_what_a_worker_says_of_the_upstream_leaves_the_api_ready(
    api: RunningApi,
) -> None:
    keys = api.services.connections.keys
    await api.services.connections.ask("LPUSH", keys.models_fault(), "foreign")
    assert (await api.client.get("/readyz")).status_code == 200
    assert api.problems == []


async def test_outcomes_are_counted(api: RunningApi, worker: Rig) -> None:
    headers = {"Idempotency-Key": "k"}
    await api.client.post("/chat", json={"message": "a"}, headers=headers)
    await api.client.post("/chat", json={"message": "a"}, headers=headers)
    await api.client.post("/chat", json={"message": "b"}, headers=headers)
    request_id = await api.submit(conversation_id="c1")
    await api.client.post(
        "/chat", json={"message": "b", "conversation_id": "c1", "on_busy": "reject"}
    )
    await api.client.post(f"/chat/{request_id}/cancel")
    counted = {
        outcome: await metric(api, f'tickertape_submits_total{{outcome="{outcome}"}}')
        for outcome in ("accepted", "repeated", "conflict", "busy", "queue_full")
    }
    expected = {"accepted": 2, "repeated": 1, "conflict": 1, "busy": 1, "queue_full": 0}
    assert counted == expected
    assert await metric(api, "tickertape_cancels_total") == 1
    assert await metric(api, "tickertape_push_up") == 1


async def test_two_apps_in_one_process_have_separate_metrics(
    api: RunningApi, redis_url: str
) -> None:
    await api.submit()
    line = 'tickertape_submits_total{outcome="accepted"}'
    async with running_api(redis_url) as other:
        assert await metric(other, line) == 0
        assert await metric(api, line) == 1


async def test_an_api_that_starts_before_redis_waits_for_it(own_redis: ValkeyServer) -> None:
    url = own_redis.url
    own_redis.stop()
    with structlog.testing.capture_logs() as logged:
        async with running_api(url, wait_for_redis=False) as api:
            assert (await api.client.get("/healthz")).status_code == 200
            assert (await api.client.get("/readyz")).status_code == 503
            refused = await api.client.post("/chat", json={"message": "hi"})
            assert refused.status_code == 503
            assert refused.json()["error"]["code"] == "unavailable"
            assert int(refused.headers["Retry-After"]) >= 1
            # Routes that do not need Redis work.
            assert (await api.client.get("/roles")).status_code == 200
            await wait_until(
                lambda: [line for line in logged if line["event"] == "waiting for Redis"],
                description="the probe to name what the process waits for",
            )
            own_redis.start()
            await wait_until(api.is_ready, description="it comes up by itself")
            await api.submit()
    events = [line["event"] for line in logged]
    assert events.count("waiting for Redis") == 1
    assert events.count("ready for requests") == 1
    password = url.partition("@")[0].rpartition(":")[2]
    assert password not in str(logged)


async def test_an_api_that_loses_redis_is_not_ready_and_refuses(
    own_redis: ValkeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(short_outage, "MOST_WAITING", 0)
    async with running_api(own_redis.url) as api:
        request_id = await api.submit()
        own_redis.kill()
        assert not await api.is_ready()
        answer = await api.client.post("/chat", json={"message": "hi"})
        assert answer.status_code == 503
        assert answer.json()["error"]["code"] == "unavailable"
        assert await metric(api, 'tickertape_submits_total{outcome="unavailable"}') == 1
        own_redis.start()
        await wait_until(api.is_ready, description="it is ready again")
        assert (await api.read(request_id))["status"] == "queued"


async def test_an_api_whose_redis_hangs_soon_is_not_ready(own_redis: ValkeyServer) -> None:
    async with running_api(own_redis.url) as api:
        own_redis.pause()
        async with asyncio.timeout(5):
            assert not await api.is_ready()
        own_redis.resume()
        await wait_until(api.is_ready, description="it is ready again")


async def test_a_process_with_another_partition_count_serves_those_in_use(redis_url: str) -> None:
    async with (
        running_api(redis_url, partitions=1),
        running_api(redis_url, partitions=8) as other,
    ):
        assert {partition_of(await other.submit()) for _ in range(8)} == {0}


async def test_a_process_that_cannot_read_the_data_does_not_serve(
    redis_url: str, worker: Rig
) -> None:
    later = Format(version=9, oldest=1, reader=9)
    await Agreement(worker.connections, {}, own_format=later).start()
    async with running_api(redis_url, wait_for_redis=False) as api:
        await wait_until(lambda: api.problems, description="it gives up")
        assert "format 9 or later" in api.problems[0]
        assert not await api.is_ready()


async def test_a_process_ends_when_an_essential_task_ends(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(self: object) -> None:
        raise RuntimeError("the launch code")

    monkeypatch.setattr("tickertape.api.fanout.streams.Streams.run", fail)
    with structlog.testing.capture_logs() as logged:
        async with running_api(redis_url, wait_for_redis=False) as api:
            await wait_until(lambda: api.problems, description="it gives up")
            assert api.problems == ["The task 'streams' failed: RuntimeError"]
    assert "launch" not in str(logged)


def test_an_api_without_a_redis_url_does_not_start() -> None:
    with pytest.raises(SettingsInvalid, match="REDIS_URL"):
        create_app(Settings(redis_url=None))
