"""A worker that pauses: for less than its lease without effect, for longer it is a zombie."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest

from tests.chaos.members import Member
from tests.faults.processes import started
from tests.support.keyspace import KEYS
from tests.support.rig import Rig, open_rig, working
from tests.support.script import Finish, Pause, Role, Script, Text, Wait, answer
from tests.support.upstream import ScriptedUpstream
from tests.support.wait import wait_until
from tickertape.runtime.settings import Settings
from tickertape.worker.upstream.chunks import ChunkReader
from tickertape.worker.upstream.pieces import Piece

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("fork server")]

LEASE_S = 1.0


@pytest.fixture
def settings(redis_url: str, upstream: ScriptedUpstream) -> Settings:
    return Settings(redis_url=redis_url, openai_base_url=upstream.base_url, lease_s=LEASE_S)


@pytest.fixture
async def rig(redis_url: str, settings: Settings) -> AsyncIterator[Rig]:
    async with open_rig(redis_url, settings) as running:
        yield running


def fenced(worker: Member) -> bool:
    return any(record.get("event") == "attempt fenced" for record in worker.records())


def words_in_time(count: int) -> Script:
    return [
        Role(),
        *(step for n in range(count) for step in (Text(f"{n} "), Pause(0.03))),
        Finish(),
    ]


async def test_a_zombie_writes_nothing_and_closes_its_upstream(
    rig: Rig, settings: Settings, upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    rest = asyncio.Event()
    upstream.enqueue([Role(), Text("half"), Wait(rest), Text("zombie"), Finish()])
    upstream.script = answer(["the ", "whole"])
    async with started("worker", [], settings, tmp_path) as zombie:
        request_id = await rig.ask()
        await rig.shows(request_id, "half")
        zombie.signal(signal.SIGSTOP)
        async with working(rig.url, settings):
            ended = await rig.ended(request_id)
        log = await rig.entries(request_id)
        # The worker will try to write the text that its upstream sends during the pause.
        rest.set()
        zombie.signal(signal.SIGCONT)
        await wait_until(lambda: fenced(zombie), description="the zombie to find out")
        async with asyncio.timeout(5):
            await upstream.calls[0].ended.wait()
        assert await rig.entries(request_id) == log
    assert ("".join(ended.text), ended.n) == ("the whole", 2)


async def test_a_zombie_cannot_regain_its_request_by_renewing(
    rig: Rig, settings: Settings, upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    gate = asyncio.Event()
    upstream.enqueue([Role(), Text("half"), Wait(asyncio.Event())])
    upstream.script = [Role(), Text("the "), Wait(gate), Text("whole"), Finish()]
    async with started("worker", [], settings, tmp_path) as zombie:
        request_id = await rig.ask()
        await rig.shows(request_id, "half")
        zombie.signal(signal.SIGSTOP)
        async with working(rig.url, settings):
            await rig.shows(request_id, "the ")
            zombie.signal(signal.SIGCONT)
            await wait_until(lambda: fenced(zombie), description="the zombie to find out")
            gate.set()
            ended = await rig.ended(request_id)
    assert ("".join(ended.text), ended.n) == ("the whole", 2)


async def test_a_pause_shorter_than_the_lease_changes_nothing(
    rig: Rig, settings: Settings, upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    # A lease so long that no stall of the machine lets it run out.
    settings = settings.model_copy(update={"lease_s": 5 * LEASE_S})
    upstream.script = words_in_time(100)
    async with started("worker", [], settings, tmp_path) as paused:
        request_id = await rig.ask()
        await wait_until(lambda: upstream.calls, description="the upstream to be called")
        # From now on another worker waits for its lease to run out.
        async with working(rig.url, settings):
            paused.signal(signal.SIGSTOP)
            await asyncio.sleep(2 * LEASE_S)
            paused.signal(signal.SIGCONT)
            ended = await rig.ended(request_id)
    assert (ended.status, ended.n) == ("completed", 1)
    assert len(upstream.calls) == 1


def hang_at_word(text: str, seconds: float) -> None:
    """Block this process' event loop once, when the worker reads this word."""
    read = ChunkReader.read
    has_hung = False

    def hanging_read(self: ChunkReader, data: bytes) -> list[Piece]:
        nonlocal has_hung
        if text.encode() in data and not has_hung:
            has_hung = True
            time.sleep(seconds)
        return read(self, data)

    ChunkReader.read = hanging_read  # type: ignore[method-assign]


async def test_a_worker_whose_event_loop_hangs_beyond_its_lease_is_a_zombie_like_any_other(
    rig: Rig, settings: Settings, upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    upstream.script = words_in_time(20)
    hang = partial(hang_at_word, '"5 "', 3 * LEASE_S)
    async with started("worker", [], settings, tmp_path, hang) as worker:
        request_id = await rig.ask()
        await rig.shows(request_id, "0 1 2 3 4 ")
        async with working(rig.url, settings):
            ended = await rig.ended(request_id)
        await wait_until(lambda: fenced(worker), description="the worker to find out")
    assert "".join(ended.text) == "".join(f"{n} " for n in range(20))
    assert ended.n == 2
    assert await rig.connections.ask("ZCARD", KEYS.running(0)) == 0
