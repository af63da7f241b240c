"""A process dies before and after each script it calls, and the request ends all the same, once."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx2
import pytest
from redis.asyncio import Redis

import tickertape.broker.appender
import tickertape.broker.faults
import tickertape.broker.lua
from tests.broker.invariants import violations
from tests.broker.snapshot import take_snapshot
from tests.chaos.members import Member
from tests.faults.ports import free_port
from tests.faults.processes import started
from tests.support.deployment import MakeDeployment
from tests.support.rig import Rig, open_rig, working
from tests.support.script import Cut, Finish, Pause, Role, Script, Text, Wait, rate_limited
from tests.support.upstream import ScriptedUpstream
from tests.support.wait import wait_until
from tickertape.broker.fold import Answer
from tickertape.runtime.settings import Settings

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("fork server")]

LEASE_S = 0.5
KILLED = 137


def arm(fault: str) -> None:
    """Set the crash point; runs in the process that will die."""
    crash_at = tickertape.broker.faults.armed(fault)
    for module in (tickertape.broker.lua, tickertape.broker.appender):
        module.crash_at = crash_at  # type: ignore[attr-defined]  # put in the place of a function


def whole() -> Script:
    return [Role(), Text("the "), Text("whole "), Text("answer"), Finish()]


def slow() -> Script:
    """An answer slow enough that each word is a separate append."""
    return [Role(), *(step for n in range(9) for step in (Text(f"{n} "), Pause(0.05))), Finish()]


def silent_after_a_word() -> Script:
    return [Role(), Text("half"), Wait(asyncio.Event())]


def cut_after_a_word() -> Script:
    return [Role(), Text("half"), Cut()]


@dataclass(frozen=True)
class Death:
    """Where a worker dies, what its upstream does, and how many attempts there are in the end."""

    fault: str
    attempts: int
    script: Callable[[], Script] = whole
    signals: int = 0


DEATHS = [
    Death("before_claim", 1),
    Death("after_claim", 2),
    Death("before_append", 2, slow),
    Death("after_append", 2, slow),
    Death("before_append:3", 2, slow),
    Death("after_append:3", 2, slow),
    Death("before_renew", 2, silent_after_a_word),
    Death("after_renew", 2, silent_after_a_word),
    Death("before_finish", 2),
    Death("after_finish", 1),
    Death("before_retry", 2, rate_limited),
    Death("after_retry", 2, rate_limited),
    Death("before_account", 2, cut_after_a_word),
    Death("after_account", 2, cut_after_a_word),
    Death("before_reopen", 2, cut_after_a_word),
    Death("after_reopen", 3, cut_after_a_word),
    Death("before_release", 2, silent_after_a_word, signals=2),
    Death("after_release", 2, silent_after_a_word, signals=2),
]


@pytest.fixture
def settings(redis_url: str, upstream: ScriptedUpstream) -> Settings:
    # Two signals in a row may arrive as one, which drains.
    return Settings(
        redis_url=redis_url, openai_base_url=upstream.base_url, lease_s=LEASE_S, drain_s=1
    )


@pytest.fixture
async def rig(redis_url: str, settings: Settings) -> AsyncIterator[Rig]:
    async with open_rig(redis_url, settings) as running:
        yield running


def doomed(
    name: str, arguments: list[str], settings: Settings, directory: Path, fault: str
) -> contextlib.AbstractAsyncContextManager[Member]:
    """A Tickertape process that will die; it is killed at the end if it has not."""
    return started(name, arguments, settings, directory, partial(arm, fault))


async def no_trace(redis_url: str) -> None:
    """Check that Redis is consistent and has no leftovers, whatever died."""
    client = Redis.from_url(redis_url, protocol=2)
    try:
        assert violations(await take_snapshot(client)) == []
    finally:
        await client.aclose()


@pytest.mark.parametrize("death", DEATHS, ids=lambda death: death.fault)
async def test_a_worker_that_dies_anywhere_leaves_a_request_that_ends_once(
    rig: Rig, settings: Settings, upstream: ScriptedUpstream, tmp_path: Path, death: Death
) -> None:
    upstream.script = whole()
    upstream.enqueue(death.script())
    request_id = await rig.ask()
    async with doomed("worker", [], settings, tmp_path, death.fault) as worker:
        if death.signals:
            await rig.shows(request_id, "half")
        for _ in range(death.signals):
            worker.signal(signal.SIGTERM)
        assert await worker.ended() == KILLED
    await no_trace(rig.url)
    async with working(rig.url, settings):
        ended = await rig.ended(request_id)
    assert_whole(ended, death.attempts)
    entries = await rig.entries(request_id)
    assert sum(entry.is_terminal for entry in entries) == 1
    assert entries[-1].is_terminal
    await no_trace(rig.url)


def assert_whole(ended: Answer, attempts: int) -> None:
    assert ("".join(ended.text), ended.status, ended.n) == (
        "the whole answer",
        "completed",
        attempts,
    )


@contextlib.asynccontextmanager
async def doomed_api(
    settings: Settings, directory: Path, fault: str
) -> AsyncIterator[tuple[Member, httpx2.AsyncClient]]:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    async with (
        doomed("api", [f"--port={port}"], settings, directory, fault) as member,
        httpx2.AsyncClient(base_url=url, verify=False) as client,
    ):

        async def is_ready() -> bool:
            with contextlib.suppress(httpx2.TransportError):
                return (await client.get("/readyz")).status_code == 200
            return False

        await wait_until(is_ready, timeout_s=20, description="the API to be ready")
        yield member, client


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_submit_that_killed_the_api_and_is_repeated_is_one_request(
    rig: Rig, settings: Settings, upstream: ScriptedUpstream, tmp_path: Path, moment: str
) -> None:
    headers, body = {"Idempotency-Key": "k"}, {"message": "hi"}
    async with doomed_api(settings, tmp_path, f"{moment}_submit") as (api, client):
        with pytest.raises(httpx2.TransportError):
            await client.post("/chat", json=body, headers=headers)
        assert await api.ended() == KILLED
    async with doomed_api(settings, tmp_path, "before_forget") as (_, client):
        answered = await client.post("/chat", json=body, headers=headers)
        assert answered.status_code == (202 if moment == "before" else 200)
        again = await client.post("/chat", json=body, headers=headers)
        assert again.json()["request_id"] == answered.json()["request_id"]
    async with working(rig.url, settings):
        assert (await rig.ended(answered.json()["request_id"])).status == "completed"
    assert len(upstream.calls) == 1
    await no_trace(rig.url)


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_follow_up_that_killed_the_api_and_is_repeated_has_the_whole_chain(
    rig: Rig, settings: Settings, upstream: ScriptedUpstream, tmp_path: Path, moment: str
) -> None:
    upstream.script = whole()
    async with (
        doomed_api(settings, tmp_path, f"{moment}_chain") as (api, client),
        working(rig.url, settings),
    ):
        first = await client.post("/v1/responses", json={"input": "hi"}, timeout=20)
        body = {"input": "and?", "previous_response_id": first.json()["id"]}
        with pytest.raises(httpx2.TransportError):
            await client.post("/v1/responses", json=body)
        assert await api.ended() == KILLED
        async with doomed_api(settings, tmp_path, "before_forget") as (_, survivor):
            again = await survivor.post("/v1/responses", json=body, timeout=20)
            assert again.json()["status"] == "completed"
    sent = [message["content"] for message in upstream.calls[-1].body["messages"]]
    assert sent == ["hi", "the whole answer", "and?"]
    await no_trace(rig.url)


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_cancel_that_killed_the_api_and_is_repeated_cancels(
    rig: Rig, settings: Settings, upstream: ScriptedUpstream, tmp_path: Path, moment: str
) -> None:
    upstream.script = silent_after_a_word()
    async with working(rig.url, settings):
        request_id = await rig.ask()
        await rig.shows(request_id, "half")
        async with doomed_api(settings, tmp_path, f"{moment}_cancel") as (api, client):
            with pytest.raises(httpx2.TransportError):
                await client.post(f"/chat/{request_id}/cancel")
            assert await api.ended() == KILLED
        async with doomed_api(settings, tmp_path, "before_forget") as (_, client):
            answered = await client.post(f"/chat/{request_id}/cancel")
            assert answered.json()["status"] == "cancelled"
        await upstream.calls[0].closed.wait()
    assert (await rig.answer(request_id)).status == "cancelled"
    await no_trace(rig.url)


async def test_a_fault_is_armed_by_its_variable(make_deployment: MakeDeployment) -> None:
    worker = make_deployment(TICKERTAPE_FAULT="before_claim").start_worker()
    assert await worker.ended() == KILLED


@pytest.mark.parametrize("fault", ["", "claim", "during_claim", "after_claim:0", "after_claim:x"])
def test_an_unknown_fault_is_refused(fault: str) -> None:
    with pytest.raises(ValueError, match="TICKERTAPE_FAULT looks like"):
        tickertape.broker.faults.armed(fault)


def test_every_script_that_writes_has_a_crash_point() -> None:
    reads_only = {"position", "probe", "lines", "may_rewrite", "rows", "states"}
    ends_nothing = {"agree", "claim_title", "erase", "erase_turn", "forget", "rename", "look"}
    ends_nothing |= {"uncompacted", "compact", "recount", "fence", "remap"}
    ends_nothing |= {"retain", "seat", "unseat", "count_seats", "settle", "chain"}
    # A worker that dies at a mark is in tests/faults/test_function_deaths.py.
    ends_nothing |= {"mark"}
    # What a call of an upstream took of its limits is free again a minute later.
    ends_nothing |= {"enter_upstream", "leave_upstream"}
    # The count of readers of a killed process runs out: tests/api/test_watchers.py.
    ends_nothing |= {"watch"}
    # A process that dies at one of these is in tests/deliver/test_webhooks.py.
    ends_nothing |= {"collect", "handed", "send_again"}
    ends_nothing |= {"add_key", "move_key", "revoke_key", "revoke_tickets", "try_writes"}
    died_in = {death.fault.partition("_")[2].partition(":")[0] for death in DEATHS}
    assert (
        died_in | {"submit", "cancel"} == {*tickertape.broker.lua.NAMES} - reads_only - ends_nothing
    )
