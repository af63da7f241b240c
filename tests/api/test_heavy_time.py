"""HeavyTime: a tenant with many long computations rests while other tenants call."""

import asyncio
import sys

import pytest

from tickertape.api.heavy_time import HeavyTime
from tickertape.api.heavy_work import HeavyWork


class _Clock:
    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def _shared(clock: _Clock) -> HeavyTime:
    """Two tenants call."""
    times = HeavyTime(clock)
    for tenant in ("flood", "calm"):
        times.note_call(tenant)
    return times


def test_a_tenant_alone_never_rests() -> None:
    times = HeavyTime(_Clock())
    for _ in range(100):
        times.note_call("only")
        times.note_use("only", 1.0)
    assert times.rest_s("only") == 0


def test_a_tenant_beside_others_has_a_second_and_then_rests() -> None:
    clock = _Clock()
    times = _shared(clock)
    times.note_use("flood", 0.75)
    assert times.rest_s("flood") == 0
    times.note_use("flood", 0.5)
    assert 1 < times.rest_s("flood") <= 40
    assert times.rest_s("calm") == 0
    clock.now_s += times.rest_s("flood")
    assert times.rest_s("flood") == 0


def test_a_rest_ends_when_no_other_tenant_calls() -> None:
    clock = _Clock()
    times = _shared(clock)
    times.note_use("flood", 60)
    clock.now_s += 1.5
    assert times.rest_s("flood") == 0


def test_what_a_tenant_used_while_it_was_alone_delays_it_by_some_seconds_only() -> None:
    clock = _Clock()
    times = _shared(clock)
    for _ in range(1000):
        times.note_use("flood", 5.0)
    assert 0 < times.rest_s("flood") <= 40


def test_thousands_of_usual_bodies_never_make_a_tenant_rest() -> None:
    times = _shared(_Clock())
    for _ in range(10_000):
        times.note_use("busy", 0.015)
    assert times.rest_s("busy") == 0


def test_a_tenant_that_has_paid_back_is_forgotten() -> None:
    clock = _Clock()
    times = _shared(clock)
    times.note_use("flood", 1.0)
    clock.now_s += 3600
    times.note_use("calm", 1.0)
    assert times._paid_at_s.keys() == {"calm"}


def test_a_tenant_that_never_ends_has_less_than_a_fiftieth_of_the_time_of_others() -> None:
    clock = _Clock()
    times = _shared(clock)
    used_s = 0.0
    while clock.now_s < 1300:
        used_s += 0.4
        clock.now_s += 0.4
        times.note_use("flood", 0.4)
        for tenant in ("flood", "calm"):
            times.note_call(tenant)
        clock.now_s += times.rest_s("flood")
    assert 3 < used_s < 0.02 * 300


async def test_computations_pass_the_interpreter_on_quickly_and_the_usual_time_comes_back() -> None:
    usual_s = sys.getswitchinterval()
    heavy = HeavyWork()
    assert await heavy.run("t", sys.getswitchinterval) < usual_s / 5
    assert sys.getswitchinterval() == usual_s
    with pytest.raises(ZeroDivisionError):
        await heavy.run("t", lambda: 1 // 0)
    assert sys.getswitchinterval() == usual_s
    heavy.close()


async def test_a_tenant_that_rests_holds_up_no_other_tenant() -> None:
    heavy = HeavyWork()
    for tenant in ("flood", "calm"):
        await heavy.run_if_heavy(tenant, int)
    heavy._time.note_use("flood", 60)
    resting = asyncio.create_task(heavy.run("flood", int))
    async with asyncio.timeout(5):
        await heavy.run("calm", int)
    assert not resting.done()
    resting.cancel()
    await asyncio.gather(resting, return_exceptions=True)
    heavy.close()
