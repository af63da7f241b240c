"""Clocks that jump. Only Redis' clock counts, and even its jumps never leave a request hanging.

Setting Redis' clock back is the same as setting every time it has stored ahead.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from itertools import pairwise

import pytest

from tests.support.keyspace import KEYS
from tests.support.rig import Rig, open_rig, working
from tests.support.script import Finish, Role, Status, Text, Wait
from tests.support.upstream import ScriptedUpstream
from tests.support.wait import wait_until
from tickertape.broker.leases import Lease
from tickertape.broker.queue import Queue
from tickertape.runtime.settings import Settings

HOUR_S = 3600


@pytest.fixture
def settings(upstream: ScriptedUpstream) -> Settings:
    return Settings.model_validate({"openai_base_url": upstream.base_url, "lease_s": 0.6})


@pytest.fixture
async def rig(redis_url: str, settings: Settings) -> AsyncIterator[Rig]:
    async with open_rig(redis_url, settings) as running:
        yield running


# One transaction, so that a claim never sees a part of the change.
_JUMP = """
local call = redis.call
for _, name in ipairs({ 'running', 'delayed' }) do
  local key = ARGV[2] .. name
  for _, id in ipairs(call('ZRANGE', key, 0, -1)) do call('ZINCRBY', key, ARGV[1], id) end
end
for _, name in ipairs({ 'seen', 'grace' }) do
  if call('HEXISTS', KEYS[1], name) == 1 then call('HINCRBY', KEYS[1], name, ARGV[1]) end
end
"""


async def set_clock(rig: Rig, by_s: int) -> None:
    """Act as if Redis' clock had jumped by this time."""
    await rig.connections.ask("EVAL", _JUMP, 1, KEYS.load(0), -by_s * 1000, KEYS.tag(0))


async def claim(rig: Rig) -> Lease:
    queue = Queue(rig.connections, rig.settings, worker="first")
    lease = await queue.claim(0, "nonce")
    assert isinstance(lease, Lease)
    return lease


@pytest.mark.parametrize("jump_s", [HOUR_S, -HOUR_S])
async def test_a_workers_own_clock_does_not_matter(
    rig: Rig, settings: Settings, monkeypatch: pytest.MonkeyPatch, jump_s: int
) -> None:
    real = time.time
    monkeypatch.setattr("time.time", lambda: real() + jump_s)
    async with working(rig.url, settings):
        request_id = await rig.ask()
        assert (await rig.ended(request_id)).status == "completed"
    cursors = [entry.cursor for entry in await rig.entries(request_id)]
    assert all(later > earlier for earlier, later in pairwise(cursors))
    assert abs(cursors[-1].attempt / 1000 - real()) < HOUR_S / 2


@pytest.mark.parametrize("jump_s", [HOUR_S, -HOUR_S])
async def test_a_dead_workers_request_is_taken_over_whatever_the_clock_does(
    rig: Rig, settings: Settings, jump_s: int
) -> None:
    request_id = await rig.ask()
    await claim(rig)
    await set_clock(rig, jump_s)
    async with working(rig.url, settings):
        ended = await rig.ended(request_id)
    assert (ended.status, ended.n) == ("completed", 2)


async def test_a_clock_set_ahead_does_not_expire_the_lease_of_a_live_worker(
    rig: Rig, settings: Settings, upstream: ScriptedUpstream
) -> None:
    gate = asyncio.Event()
    upstream.script = [Role(), Text("a"), Wait(gate), Text("b"), Finish()]
    async with working(rig.url, settings):
        request_id = await rig.ask()
        await rig.shows(request_id, "a")
        await set_clock(rig, HOUR_S)
        renewed = await rig.connections.ask("ZSCORE", KEYS.running(0), request_id)

        async def is_renewed() -> bool:
            score = await rig.connections.ask("ZSCORE", KEYS.running(0), request_id)
            return score is not None and float(score) > float(renewed)

        await wait_until(is_renewed, description="the lease to be renewed")
        gate.set()
        ended = await rig.ended(request_id)
    assert (ended.status, ended.n) == ("completed", 1)


async def test_a_clock_set_back_in_a_grace_period_does_not_extend_it(
    rig: Rig, settings: Settings
) -> None:
    request_id = await rig.ask()
    await claim(rig)
    now_ms = int(time.time() * 1000)
    await rig.connections.ask("HSET", KEYS.load(0), "grace", now_ms + HOUR_S * 1000)
    async with working(rig.url, settings):
        ended = await rig.ended(request_id)
    assert ended.n == 2


async def test_a_clock_set_back_by_hours_does_not_delay_a_retry_by_hours(
    rig: Rig, settings: Settings, upstream: ScriptedUpstream
) -> None:
    upstream.enqueue([Status(503)])
    queue = Queue(rig.connections, settings, worker="first")
    request_id = await rig.ask()
    await queue.retry(await claim(rig), 1000, "upstream_error")
    await set_clock(rig, -3 * HOUR_S)
    async with working(rig.url, settings):
        assert (await rig.ended(request_id)).status == "completed"


async def test_an_attempt_never_goes_back_in_time(rig: Rig, settings: Settings) -> None:
    request_id = await rig.ask()
    ahead_ms = int(time.time() + HOUR_S) * 1000
    await rig.connections.ask("HSET", KEYS.request(request_id), "attempt", ahead_ms)
    lease = await claim(rig)
    assert lease.attempt == ahead_ms + 1
