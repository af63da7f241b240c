"""Limits per minute of upstreams, which all workers share."""

import asyncio
import random
import time
from collections.abc import AsyncIterator

import pytest

from tests.support.rig import Rig, open_rig
from tickertape.broker.connections import Connections
from tickertape.broker.upstream_limits import PerMinute, UpstreamLimits

SLOT_MS = 500
WAIT_S = 60.5


@pytest.fixture
async def rig(redis_url: str) -> AsyncIterator[Rig]:
    async with open_rig(redis_url) as running:
        yield running


@pytest.fixture
def limits(rig: Rig) -> UpstreamLimits:
    return UpstreamLimits(rig.connections)


async def age(rig: Rig, s: float) -> None:
    """Let a time pass for all that was counted of the upstream `a`."""
    name = rig.connections.keys.minute("a")
    counted = await rig.connections.ask("HGETALL", name)
    await rig.connections.ask("DEL", name)
    for field, value in counted.items():
        older = int(field[1:]) - int(s * 1000 / SLOT_MS)
        await rig.connections.ask("HSET", name, f"{field[:1].decode()}{older}", value)


async def enter(limits: UpstreamLimits, call: str, tokens: int = 1) -> float | None:
    return await limits.enter("a", call, PerMinute(3, 100), tokens)


async def test_a_minute_has_room_for_as_many_calls_as_the_limit_says(
    limits: UpstreamLimits, rig: Rig
) -> None:
    assert [await enter(limits, f"c{n}") for n in range(3)] == [None] * 3
    wait_s = await enter(limits, "c3")
    assert wait_s is not None
    assert 60 < wait_s <= WAIT_S
    await age(rig, 60)
    assert await enter(limits, "c3") is not None  # within the same half second
    await age(rig, 1)
    assert await enter(limits, "c3") is None


async def test_a_call_waits_until_the_oldest_calls_leave_room_for_its_tokens(
    limits: UpstreamLimits, rig: Rig
) -> None:
    assert await enter(limits, "old", 30) is None
    await age(rig, 40)
    assert await enter(limits, "new", 60) is None
    wait_s = await enter(limits, "next", 40)
    assert wait_s is not None
    assert 19 < wait_s <= 21
    assert await enter(limits, "small", 10) is None


async def test_a_call_larger_than_the_limit_gets_all_of_it(limits: UpstreamLimits) -> None:
    assert await enter(limits, "large", 500) is None
    assert await enter(limits, "small", 1) is not None


async def test_the_tokens_that_were_used_count_in_place_of_those_that_were_reserved(
    limits: UpstreamLimits,
) -> None:
    assert await enter(limits, "c", 90) is None
    assert await enter(limits, "d", 20) is not None
    await limits.leave("a", "c", 70)
    await limits.leave("a", "c", 70)  # a repeated call
    assert await enter(limits, "d", 20) is None
    assert await enter(limits, "e", 20) is not None


async def test_what_a_long_call_used_beyond_its_reservation_counts_at_its_end(
    limits: UpstreamLimits, rig: Rig
) -> None:
    assert await enter(limits, "c", 10) is None
    await age(rig, 300)
    entered = rig.connections.keys.entered("a", "c")
    await rig.connections.ask("SET", entered, "1|10")
    await limits.leave("a", "c", 100)
    assert await enter(limits, "d", 11) is not None
    assert await enter(limits, "d", 10) is None


async def test_a_repeated_call_counts_once(limits: UpstreamLimits) -> None:
    assert [await enter(limits, "c") for _ in range(5)] == [None] * 5


async def test_a_clock_that_is_set_back_ends_no_upstream(limits: UpstreamLimits, rig: Rig) -> None:
    for n in range(3):
        assert await enter(limits, f"c{n}") is None
    await age(rig, -3600)
    assert await enter(limits, "c3") is None


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.timeout(180)
async def test_over_any_60_s_four_workers_together_keep_within_one_percent_of_the_limits(
    redis_url: str,
) -> None:
    """One upstream has a limit of requests and one of tokens, which are used in any amounts."""
    of_requests, of_tokens = await asyncio.gather(
        used_by_four(redis_url, "requests", PerMinute(600, None)),
        used_by_four(redis_url, "tokens", PerMinute(None, 60_000)),
    )
    assert most_in_60_s([(at, 1) for at, _ in of_requests]) <= 600 * 1.01
    assert most_in_60_s(of_tokens) <= 60_000 * 1.01
    # Two whole windows, and what the third has begun with.
    assert in_120_s([(at, 1) for at, _ in of_requests]) >= 2 * 600 * 0.99
    assert in_120_s(of_tokens) >= 2 * 60_000 * 0.99


Used = list[tuple[float, int]]


def most_in_60_s(used: Used) -> int:
    return max(sum(n for other, n in used if at <= other < at + 60) for at, _ in used)


def in_120_s(used: Used) -> int:
    return sum(n for at, n in used if at < used[0][0] + 120)


async def used_by_four(redis_url: str, name: str, per_minute: PerMinute) -> Used:
    """What four workers use in 130 s: the time of each call, and its tokens."""
    used: Used = []
    end_s = time.monotonic() + 130

    async def work(number: int) -> None:
        connections, rng = Connections(redis_url), random.Random(number)
        limits, calls = UpstreamLimits(connections), 0
        try:
            while time.monotonic() < end_s:
                call, tokens = f"{number}.{calls}", rng.randint(50, 150)
                # The estimate of a worker is wrong in both ways.
                reserved = tokens + rng.randint(-40, 40)
                wait_s = await limits.enter(name, call, per_minute, reserved)
                while wait_s is not None and time.monotonic() < end_s:
                    await asyncio.sleep(min(wait_s, max(0.0, end_s - time.monotonic())))
                    wait_s = await limits.enter(name, call, per_minute, reserved)
                if wait_s is None:
                    used.append((time.monotonic(), tokens))
                    await limits.leave(name, call, tokens)
                    calls += 1
        finally:
            await connections.aclose()

    await asyncio.gather(*map(work, range(4)))
    return used
