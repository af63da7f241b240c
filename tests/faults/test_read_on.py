"""A worker dies, drains or is cancelled in an answer that its upstream keeps."""

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.callers import Caller
from tests.support.deployment import MakeDeployment
from tests.support.given_settings import GivenSettings
from tests.support.half_answers import HALF, REST, Gated
from tests.support.keeping_upstream import KeepingUpstream
from tests.support.rig import Rig, open_rig, working
from tests.support.script import Done, Finish, Text, Wait
from tests.support.scripted import tools
from tests.support.upstream import ScriptedUpstream
from tests.support.upstreams import write_table
from tests.support.wait import wait_until
from tests.support.wire_calls import (
    Ask,
    Asked,
    agui,
    ai_sdk,
    ai_sdk_7,
    background,
    background_stream,
    chat,
    chat_stream,
    native,
    raw_text,
    response,
    response_stream,
    resuming_agui,
)
from tests.wires.conftest import openai_client
from tickertape.broker.codec import Entry
from tickertape.broker.leases import Attached, Lease
from tickertape.broker.log import Logs
from tickertape.broker.marks import Marks
from tickertape.broker.queue import Queue
from tickertape.worker.job import Job
from tickertape.worker.lease_keeper import LeaseKeeper
from tickertape.worker.outcome import Stop
from tickertape.worker.running_jobs import RunningJobs
from tickertape.worker.upstreams.reading import read_table
from tickertape.worker.upstreams.roster import build_table

WIRES: tuple[Ask, ...] = (
    native, raw_text, chat, chat_stream, response, response_stream, background, background_stream,
    ai_sdk, ai_sdk_7, agui, resuming_agui,
)  # fmt: skip
TOKENS = [f"word-{n} " for n in range(50)]
TEXT = "".join(TOKENS)


@pytest.fixture
async def keeping() -> AsyncIterator[KeepingUpstream]:
    async with KeepingUpstream() as running:
        yield running


def table_of(folder: Path, upstream: KeepingUpstream, resume: str) -> Path:
    row = {"name": "a", "base_url": upstream.base_url, "resume": resume}
    return write_table(folder / "upstreams.toml", row)


def stopping_at(rest: asyncio.Event) -> list[Text | Wait | Finish | Done]:
    """An answer that stops at token 20 of 50 until the rest may come."""
    texts = [Text(token) for token in TOKENS]
    return [*texts[:20], Wait(rest), *texts[20:], Finish(), Done()]


@pytest.mark.slow
@pytest.mark.parametrize("resume", ["responses", pytest.param("llama.cpp", marks=pytest.mark.long)])
async def test_of_a_killed_worker_s_answer_the_next_one_reads_the_rest_and_asks_nothing(
    make_deployment: MakeDeployment, keeping: KeepingUpstream, tmp_path: Path, resume: str
) -> None:
    rest = asyncio.Event()
    keeping.script = lambda _: stopping_at(rest)
    table = table_of(tmp_path, keeping, resume)
    deployment = make_deployment(
        TICKERTAPE_LEASE_S="1", TICKERTAPE_UPSTREAMS=str(table), OPENAI_MODEL="m"
    )
    (_, url), victim = await asyncio.gather(deployment.running_api(), deployment.running_worker())
    async with Caller(url) as caller, openai_client(url) as sdk:

        async def have_begun() -> bool:
            listed = (await caller.client.get("/chat", params={"limit": 100})).json()["requests"]
            texts = [(await caller.read(each["request_id"]))["text"] for each in listed]
            return texts == ["".join(TOKENS[:20])] * len(WIRES)

        asking = [
            asyncio.create_task(ask(Asked(ask.__name__, caller.client, sdk))) for ask in WIRES
        ]
        await wait_until(have_begun, timeout_s=20, description="all answers at token 20")
        await victim.kill()
        rest.set()
        await deployment.running_worker()
        heard = await asyncio.gather(*asking)
    assert dict(zip(WIRES, heard, strict=True)) == dict.fromkeys(WIRES, TEXT)
    assert len(keeping.calls) == len(keeping.replays) == len(WIRES)
    assert keeping.ended == []


@pytest.fixture
async def rig(redis_url: str, keeping: KeepingUpstream, tmp_path: Path) -> AsyncIterator[Rig]:
    table = table_of(tmp_path, keeping, "responses")
    given = GivenSettings(upstreams=table, openai_model="m", lease_s=1)
    async with open_rig(redis_url, given) as running:
        yield running


async def test_a_cancelled_request_ends_its_answer_at_the_upstream(
    rig: Rig, keeping: KeepingUpstream
) -> None:
    Gated(keeping)
    async with working(rig.url, rig.settings):
        request_id = await rig.ask()
        await rig.shows(request_id, HALF)
        await rig.requests.cancel(request_id, "public")
        await wait_until(lambda: keeping.ended, description="the end at the upstream")
    assert keeping.ended == ["resp_0"]


@pytest.mark.parametrize("is_running", [True, False])
async def test_a_request_cancelled_before_its_answer_is_read_on_ends_the_answer_as_well(
    rig: Rig, keeping: KeepingUpstream, tmp_path: Path, *, is_running: bool
) -> None:
    rows = read_table(table_of(tmp_path, keeping, "responses"))
    queue = Queue(rig.connections, rig.settings, worker="second", keeping=["a"])
    asked = asyncio.Event()

    class Hanging(Logs):
        async def entries(self, *_: object, **__: object) -> list[Entry]:
            asked.set()
            return await asyncio.Future()

    first = await rig.leased()
    await rig.type("half ")
    await Marks(rig.connections).attach(first, Attached("a", "resp_0"))
    await rig.queue.release(first)
    async with build_table(rows, random.Random(1), model="m") as table:
        kit = replace(tools(table, queue), logs=Hanging(rig.connections))
        jobs = RunningJobs(kit, LeaseKeeper(queue, 60), slots=1, suspect_crashes=3)
        lease = await queue.claim(0, "takeover")
        assert isinstance(lease, Lease)
        jobs.start(lease)
        if is_running:
            await asked.wait()
        jobs.cancelled(lease.request_id)
        await jobs.finish()
        await wait_until(lambda: keeping.ended, description="the end at the upstream")
    assert keeping.ended == ["resp_0"]
    assert not keeping.replays
    assert not keeping.calls


async def test_an_upstream_that_failed_without_output_leaves_no_mark(
    redis_url: str, keeping: KeepingUpstream, upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    keeping.script = [Done()]
    gated = Gated(upstream)
    table = write_table(
        tmp_path / "upstreams.toml",
        {"name": "a", "base_url": keeping.base_url, "resume": "llama.cpp"},
        {"name": "b", "base_url": upstream.base_url, "order": 2},
    )
    settings = GivenSettings(upstreams=table, openai_model="m")
    async with open_rig(redis_url, settings) as rig, working(redis_url, settings):
        request_id = await rig.ask()
        await rig.shows(request_id, HALF)

        async def is_deleted() -> bool:
            return not await rig.has_mark(request_id)

        await wait_until(is_deleted, description="no mark")
        gated.rest.set()
        await rig.ended(request_id)
    assert (len(keeping.calls), len(upstream.calls)) == (1, 1)


@pytest.mark.parametrize("reason", [Stop.DRAINED, Stop.FENCED])
async def test_a_worker_that_leaves_an_answer_to_another_one_counts_nothing_of_it(
    rig: Rig, keeping: KeepingUpstream, tmp_path: Path, reason: Stop
) -> None:
    Gated(keeping)
    rows = read_table(table_of(tmp_path, keeping, "responses"))
    marks = Marks(rig.connections)
    request_id = await rig.ask()
    async with build_table(rows, random.Random(1), model="m") as table:
        job = Job(await rig.claim_lease(), replace(tools(table, rig.queue), marks=marks))
        running = asyncio.create_task(job.run())

        async def is_marked() -> bool:
            return job.deltas == 1 and await rig.has_mark(request_id)

        await wait_until(is_marked, description="an answer that is kept")
        job.stop(reason)
        await running
    assert (await rig.record(request_id)).usage == {}


@pytest.mark.slow
async def test_an_answer_is_read_on_once_more_by_a_third_worker_also_if_it_may_not_start_over(
    rig: Rig, keeping: KeepingUpstream
) -> None:
    gated = Gated(keeping)
    async with working(rig.url, rig.settings):
        request_id = await rig.ask(on_interruption="fail")
        await rig.shows(request_id, HALF)
    async with working(rig.url, rig.settings):
        await wait_until(lambda: keeping.replays, description="the second worker reads")
    async with working(rig.url, rig.settings):
        gated.rest.set()
        ended = await rig.ended(request_id)
    assert "".join(ended.text) == HALF + REST
    kinds = [entry.kind for entry in await rig.entries(request_id)]
    assert kinds == ["queued", "started", "delta", "resumed", "resumed", "delta", "completed"]
    assert (len(keeping.calls), len(keeping.replays)) == (1, 2)
    usage = (await rig.record(request_id)).usage
    assert [*usage.values()] == [{"completion_tokens": 2, "estimated": True}]


@pytest.mark.slow
@pytest.mark.parametrize(("policy", "end"), [("restart", "completed"), ("fail", "failed")])
async def test_a_worker_without_the_upstream_of_an_answer_does_as_the_policy_says(
    rig: Rig, keeping: KeepingUpstream, upstream: ScriptedUpstream, tmp_path: Path,
    policy: str, end: str,
) -> None:  # fmt: skip
    Gated(keeping)
    upstream.owner = "llamacpp"  # it could continue the text
    row = {"name": "b", "base_url": upstream.base_url}
    settings = GivenSettings(
        upstreams=write_table(tmp_path / "other.toml", row), openai_model="m", lease_s=1
    )
    async with working(rig.url, rig.settings):
        request_id = await rig.ask(on_interruption=policy)
        await rig.shows(request_id, HALF)
    async with working(rig.url, settings):
        await rig.ended(request_id)
    kinds = [entry.kind for entry in await rig.entries(request_id)]
    assert (kinds[-1], "resumed" in kinds) == (end, False)
    assert len(upstream.calls) == (policy == "restart")
    assert keeping.replays == []


@pytest.mark.slow
async def test_an_answer_that_the_upstream_has_forgotten_starts_over(
    rig: Rig, keeping: KeepingUpstream
) -> None:
    gated = Gated(keeping)
    async with working(rig.url, rig.settings):
        request_id = await rig.ask()
        await rig.shows(request_id, HALF)
    keeping.kept.clear()
    gated.rest.set()
    async with working(rig.url, rig.settings):
        ended = await rig.ended(request_id)
    assert "".join(ended.text) == HALF + REST
    kinds = [entry.kind for entry in await rig.entries(request_id)]
    assert kinds[-4:] == ["reset", "delta", "delta", "completed"]
    assert len(keeping.calls) == 2
