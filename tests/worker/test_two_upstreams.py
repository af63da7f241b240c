"""One request from submit to end, on a real Redis and a worker with two upstreams."""

import asyncio
import hashlib
import json
from pathlib import Path

import pytest

from tests.api.test_fleet_metrics import misdescribed
from tests.faults.ports import free_port
from tests.support.callers import Caller
from tests.support.given_settings import GivenSettings
from tests.support.prompted import Plan, PlanFollower
from tests.support.running_api import running_api
from tests.support.script import Error, Reset, Role, Status, Step, Text, Wait, answer
from tests.support.upstreams import TwoUpstreams, two_upstreams, write_table
from tests.support.wait import wait_until
from tickertape.api.services import ApiTiming
from tickertape.broker.errors import SettingsInvalid
from tickertape.broker.kinds import Policy
from tickertape.worker.assembly import WorkerTiming
from tickertape.worker.main import run

CUT = Plan(deltas=50, tag="word", cut_after=20)


async def openers(system: TwoUpstreams, request_id: str) -> list[str]:
    kinds = {"started", "reset", "resumed"}
    return [each.kind for each in await system.rig.entries(request_id) if each.kind in kinds]


async def test_a_failure_before_output_costs_the_request_no_try_and_no_attempt(
    redis_url: str, tmp_path: Path
) -> None:
    async with two_upstreams(redis_url, tmp_path) as system:
        system.a.script, system.b.script = [Status(503)], answer(["the ", "answer"])
        request_id = await system.rig.ask()
        ended = await system.rig.ended(request_id)
        assert ("".join(ended.text), ended.end["upstream"]) == ("the answer", "b")
        assert await openers(system, request_id) == ["started"]
        assert system.calls == (1, 1)


async def test_a_model_that_no_row_has_is_refused_without_a_row_s_name(
    redis_url: str, tmp_path: Path
) -> None:
    rows = {"models": ["m", "large"]}
    fast, looks = WorkerTiming(report_interval_s=0.02), ApiTiming(fleet_interval_s=0.02)
    async with (
        two_upstreams(redis_url, tmp_path, of_a=rows, of_b=rows, timing=fast) as system,
        running_api(redis_url, timing=looks) as api,
    ):
        await wait_until(lambda: api.services.fleet.members.workers, description="a report")
        body = {"model": "gpt", "messages": [{"role": "user", "content": "hi"}]}
        refused = await api.client.post("/v1/chat/completions", json=body)
        assert system.calls == (0, 0)
    assert (refused.status_code, refused.json()["error"]["code"]) == (404, "model_not_found")
    assert refused.json()["error"]["message"].endswith("Name one of these in `model`: m, large.")


async def cut_off(system: TwoUpstreams, policy: Policy) -> tuple[str, list[str]]:
    """Ask while `a` dies at token 20 of 50; returns the id and the openers."""
    follower = PlanFollower(CUT)
    system.a.script = system.b.script = follower.script_for
    request_id = await system.rig.ask(CUT.prompt(), on_interruption=policy)
    await system.rig.ended(request_id)
    return request_id, await openers(system, request_id)


@pytest.mark.parametrize(
    ("policy", "owner", "opener"),
    [("restart", "scripted", "reset"), ("continue", "llamacpp", "resumed")],
)
async def test_an_upstream_that_dies_at_token_20_of_50_is_followed_by_the_other(
    policy: Policy, owner: str, opener: str, redis_url: str, tmp_path: Path
) -> None:
    async with two_upstreams(redis_url, tmp_path, owner=owner) as system:
        request_id, opened = await cut_off(system, policy)
        ended = await system.rig.answer(request_id)
        text = CUT.text()
        assert ("".join(ended.text), ended.end["upstream"]) == (text, "b")
        assert ended.end["sha256"] == hashlib.sha256(text.encode()).hexdigest()
        assert opened == ["started", opener]
        assert system.calls == (1, 1)
        deltas = len(await system.rig.texts(request_id))
        assert deltas == (70 if opener == "reset" else 50)


@pytest.mark.parametrize(
    "failure",
    [
        [Reset()],
        [Error()],
        [Wait(asyncio.Event())],
    ],
    ids=["reset", "error", "silence"],
)
async def test_whatever_breaks_an_answer_off_another_upstream_gives_a_whole_one(
    failure: list[Step], redis_url: str, tmp_path: Path
) -> None:
    async with two_upstreams(redis_url, tmp_path, stall_s=0.2) as system:
        system.a.script = [Role(), Text("half "), *failure]
        system.b.script = answer(["the ", "whole"])
        request_id = await system.rig.ask()
        ended = await system.rig.ended(request_id)
        assert ("".join(ended.text), ended.end["upstream"]) == ("the whole", "b")
        assert await openers(system, request_id) == ["started", "reset"]


async def test_a_request_beyond_all_limits_waits_and_has_used_no_try(
    redis_url: str, tmp_path: Path
) -> None:
    limit = {"requests_per_minute": 1}
    async with two_upstreams(redis_url, tmp_path, of_a=limit, of_b=limit) as system:
        ended = [await system.rig.ended(await system.rig.ask()) for _ in range(2)]
        assert [each.end["upstream"] for each in ended] == ["a", "b"]
        request_id = await system.rig.ask()
        key = system.rig.connections.keys.request(request_id)

        async def is_delayed() -> bool:
            state = await system.rig.connections.ask("HGET", key, "state")
            return bool(state == b"delayed")

        await wait_until(is_delayed, description="the request to wait")
        retries, waiting = await system.rig.connections.ask("HMGET", key, "retries", "waiting")
        assert retries == b"0"
        assert json.loads(waiting)["reason"] == "upstream_rate_limited"
        assert system.calls == (1, 1)


async def test_a_key_of_a_row_is_replaced_when_its_file_changes(
    redis_url: str, tmp_path: Path
) -> None:
    key_file = tmp_path / "a.key"
    key_file.write_text("the-first-key\n")
    timing = WorkerTiming(secret_look_s=0.01)
    row = {"key_file": "a.key"}
    async with two_upstreams(redis_url, tmp_path, of_a=row, timing=timing) as system:
        system.a.accept_keys("the-first-key", "the-second-key")
        assert (await system.rig.ended(await system.rig.ask())).end["upstream"] == "a"
        key_file.write_text("the-second-key\n")
        system.a.accept_keys("the-second-key")

        async def is_used() -> bool:
            ended = await system.rig.ended(await system.rig.ask())
            return bool(ended.end["upstream"] == "a")

        await wait_until(is_used, description="the new key to be used")


@pytest.mark.parametrize("policy", ["continue", "fail"])
async def test_an_answer_that_no_upstream_continues_fails_with_what_there_is(
    policy: Policy, redis_url: str, tmp_path: Path
) -> None:
    async with two_upstreams(redis_url, tmp_path) as system:
        request_id, opened = await cut_off(system, policy)
        ended = await system.rig.answer(request_id)
        assert (ended.end["code"], ended.end["upstream"]) == ("upstream_truncated", "a")
        assert (opened, len(ended.text)) == (["started"], 20)
        assert system.calls == (1, 0)


async def test_what_each_upstream_did_is_in_the_metrics(redis_url: str, tmp_path: Path) -> None:
    port = free_port()
    async with (
        two_upstreams(redis_url, tmp_path, worker_health_port=port) as system,
        Caller(f"http://127.0.0.1:{port}") as worker,
    ):
        system.a.script = [Status(503)]
        await system.rig.ended(await system.rig.ask())
        text = (await worker.client.get("/metrics")).text
    document = Path("docs/upstreams.md").read_text()
    assert misdescribed(document, text) == []
    assert {
        'tickertape_upstream_calls_total{outcome="upstream_error",upstream="a"} 1.0',
        'tickertape_upstream_calls_total{outcome="completed",upstream="a"} 0.0',
        'tickertape_upstream_calls_total{outcome="completed",upstream="b"} 1.0',
        'tickertape_upstream_running{upstream="b"} 0.0',
        'tickertape_upstream_resting{upstream="a"} 0.0',
    } <= {*text.splitlines()}


async def test_an_error_in_the_table_stops_the_start_of_a_worker(tmp_path: Path) -> None:
    table = write_table(tmp_path / "upstreams.toml", {"name": "a", "base_url": "nowhere"})
    with pytest.raises(SettingsInvalid, match="line 3, upstream 'a', base_url: use http://"):
        await run(GivenSettings(upstreams=table), "redis://127.0.0.1:1")
