"""A real worker reports itself, and its report ends with it."""

import asyncio

import pytest

from tests.support.given_settings import GivenSettings
from tests.support.rig import open_rig, working
from tests.support.script import Finish, Text, Wait
from tests.support.upstream import ScriptedUpstream
from tests.support.wait import wait_until
from tickertape.broker.fleet import Fleet, WorkerReport
from tickertape.worker.assembly import WorkerTiming
from tickertape.worker.counters import DeltaRate


async def test_a_worker_reports_its_slots_and_what_it_runs(
    redis_url: str, upstream: ScriptedUpstream
) -> None:
    rest = asyncio.Event()
    upstream.enqueue([Text("a"), Text("b"), Wait(rest), Finish()])
    settings = GivenSettings(openai_base_url=upstream.base_url, openai_model="m")
    async with (
        open_rig(redis_url) as rig,
        working(redis_url, settings, slots=5, timing=WorkerTiming(report_interval_s=0.05)),
    ):
        fleet = Fleet(rig.connections)

        async def reported() -> list[WorkerReport]:
            return [seen.report for seen in (await fleet.members()).workers]

        async def is_shown() -> bool:
            return any((w.slots, w.running, w.deltas) == (5, 1, 2) for w in await reported())

        await rig.ask()
        await wait_until(is_shown, timeout_s=10, description="the report shows the request")
        rest.set()
    async with open_rig(redis_url) as rig:
        assert (await Fleet(rig.connections).members()).workers == []


def test_the_rate_is_the_mean_of_the_last_samples() -> None:
    times = iter([0.0, 2.0, 4.0, 6.0, 8.0, 10.0, 12.0])
    rate = DeltaRate(lambda: next(times))
    rates = [rate.add(deltas) for deltas in (0, 20, 40, 60, 80, 100, 100)]
    assert rates == [0, 10, 10, 10, 10, 10, 8]


def test_a_worker_that_lost_its_count_has_no_negative_rate() -> None:
    times = iter([0.0, 2.0])
    rate = DeltaRate(lambda: next(times))
    rate.add(10)
    assert rate.add(0) == pytest.approx(0)
