"""`on_interruption: continue` keeps the text, and an able upstream continues from there."""

import asyncio
import hashlib
import importlib.util
import os
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.support.given_settings import GivenSettings
from tests.support.prompted import Plan, PlanFollower
from tests.support.proxy import FaultProxy
from tests.support.rig import Rig, open_rig, working
from tests.support.script import Role, Text, Wait
from tests.support.upstream import ScriptedUpstream
from tests.support.wait import wait_until
from tickertape.broker.fold import Answer
from tickertape.broker.kinds import Policy
from tickertape.cli.up.local_model import LocalModel, local_model
from tickertape.cli.up.model_weights import find_weights
from tickertape.runtime.settings import Settings

PLAN = Plan(deltas=20, tag="word", rate_per_s=100, cut_after=9)


@pytest.fixture
def settings(upstream: ScriptedUpstream) -> Settings:
    upstream.owner = "llamacpp"
    upstream.script = PlanFollower(Plan()).script_for
    fields = {"openai_base_url": upstream.base_url, "openai_model": "m", "lease_s": 0.6}
    return Settings.model_validate(fields)


@pytest.fixture
async def rig(redis_url: str, settings: Settings) -> AsyncIterator[Rig]:
    async with open_rig(redis_url, settings) as running:
        yield running


async def openers(rig: Rig, request_id: str) -> list[str]:
    kinds = {"started", "reset", "resumed"}
    return [entry.kind for entry in await rig.entries(request_id) if entry.kind in kinds]


def assert_whole(ended: Answer, text: str) -> None:
    assert "".join(ended.text) == text
    assert ended.status == "completed"
    assert ended.end["sha256"] == hashlib.sha256(text.encode()).hexdigest()


async def test_an_answer_that_was_cut_off_continues_where_it_broke(
    rig: Rig, settings: Settings, upstream: ScriptedUpstream
) -> None:
    async with working(rig.url, settings):
        request_id = await rig.ask(PLAN.prompt(), on_interruption="continue")
        assert_whole(await rig.ended(request_id), PLAN.text())
    assert await openers(rig, request_id) == ["started", "resumed"]
    again = upstream.calls[1].body
    assert again["messages"][-1] == {"role": "assistant", "content": "".join(PLAN.pieces()[:9])}
    assert again["continue_final_message"] is True


async def test_an_answer_whose_worker_died_continues_at_another(
    rig: Rig, settings: Settings, upstream: ScriptedUpstream
) -> None:
    plan = Plan(deltas=20, tag="word", stall_after=9)
    async with working(rig.url, settings):
        request_id = await rig.ask(plan.prompt(), on_interruption="continue")
        await rig.shows(request_id, "".join(plan.pieces()[:9]))
    async with working(rig.url, settings):
        assert_whole(await rig.ended(request_id), plan.text())
    assert await openers(rig, request_id) == ["started", "resumed"]


@pytest.mark.parametrize("policy", ["continue", "restart"])
async def test_an_answer_that_outlasts_the_drain_of_its_worker_continues_at_another(
    rig: Rig, settings: Settings, upstream: ScriptedUpstream, policy: Policy
) -> None:
    plan = Plan(deltas=20, tag="word", stall_after=9)
    hurried = Settings.model_validate({**settings.model_dump(), "drain_s": 0.05})
    async with working(rig.url, hurried):
        request_id = await rig.ask(plan.prompt(), on_interruption=policy)
        await rig.shows(request_id, "".join(plan.pieces()[:9]))
        os.kill(os.getpid(), signal.SIGTERM)

        async def is_handed_over() -> bool:
            return (await rig.record(request_id)).state == "queued"

        await wait_until(is_handed_over, description="the request is handed over")
    async with working(rig.url, settings):
        assert_whole(await rig.ended(request_id), plan.text())
    assert await openers(rig, request_id) == ["started", "resumed"]


async def test_an_upstream_that_cannot_continue_an_answer_starts_over(
    rig: Rig, settings: Settings, upstream: ScriptedUpstream
) -> None:
    upstream.owner = "someone"
    async with working(rig.url, settings):
        request_id = await rig.ask(PLAN.prompt(), on_interruption="continue")
        ended = await rig.ended(request_id)
    assert (ended.status, ended.end["code"]) == ("failed", "upstream_truncated")
    assert "".join(ended.text) == "".join(PLAN.pieces()[:9])
    assert len(upstream.calls) == 1


async def test_a_new_worker_knows_its_upstreams_abilities_at_the_first_claim(
    rig: Rig, settings: Settings, upstream: ScriptedUpstream
) -> None:
    upstream.enqueue([Role(), Text("word-0 "), Wait(asyncio.Event())])
    plan = Plan(deltas=3, tag="word")
    for _ in range(3):
        async with working(rig.url, settings):
            request_id = await rig.ask(plan.prompt(), on_interruption="continue")
            await rig.shows(request_id, "word-0 ")
        # The lease has run out, so the next worker's first claim gets this request.
        await rig.connections.ask("ZADD", "{p0}:running", 1, request_id)
        async with working(rig.url, settings):
            assert_whole(await rig.ended(request_id), plan.text())
        upstream.enqueue([Role(), Text("word-0 "), Wait(asyncio.Event())])
        plan = Plan(deltas=plan.deltas + 1, tag="word")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalModel]:
    weights = find_weights(GivenSettings(local_model_slots=1))
    with local_model(weights, Path(tmp_path_factory.mktemp("model")) / "model.log") as running:
        yield running


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.skipif(
    importlib.util.find_spec("xllamacpp") is None,
    reason="there is no xllamacpp wheel for this platform, or the 'local' extra is missing",
)
async def test_the_local_model_continues_a_sentence_that_was_cut_off(
    redis_url: str, model: LocalModel
) -> None:
    port = int(model.base_url.rpartition(":")[2].partition("/")[0])
    async with FaultProxy(port) as proxy:
        settings = Settings.model_validate(
            {
                "openai_base_url": model.base_url.replace(f":{port}", f":{proxy.port}"),
                "openai_api_key": model.api_key,
                "openai_model": model.model,
            }
        )
        async with open_rig(redis_url, settings) as rig, working(redis_url, settings):
            request_id = await rig.ask(
                "Write a long story about a lighthouse.",
                on_interruption="continue",
                params={"temperature": 0, "max_tokens": 120},
            )

            async def has_begun() -> bool:
                return len((await rig.answer(request_id)).text) > 15

            await wait_until(has_begun, timeout_s=60, description="some words")
            kept = "".join((await rig.answer(request_id)).text)
            proxy.reset_all()
            ended = await rig.ended(request_id, timeout_s=90)
            assert await openers(rig, request_id) == ["started", "resumed"]
    text = "".join(ended.text)
    assert_whole(ended, text)
    assert text.startswith(kept)
    assert len(text) > len(kept)
    # The model did not start over behind the kept text.
    assert not text[len(kept) :].startswith(kept[:20])
