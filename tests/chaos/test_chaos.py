"""A short run of each kind: the fence holds, and without it the checker finds what it should."""

import pytest

from tests.chaos.run import Verdict, run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

SECONDS = 18
# A fail-over lasts for several seconds, and they follow one another.
WITH_REPLICAS_SECONDS = 24
WITH_REPLICAS = ["cluster", "sentinel"]
# Few zombies are functions that pay after another attempt has paid.
CONTROL_SECONDS = 36


def assert_without_fence_is_found(verdict: Verdict) -> None:
    broken = {name.partition(" ")[0] for name in verdict.broken}
    # The fence prevents an attempt with the words of another one, and a second end.
    assert broken & {"I2", "I4"}
    assert "I7" in broken
    # And an attempt of a function that runs a tool which another attempt has run.
    assert "I21" in broken


def assert_functions_went_on(verdict: Verdict) -> None:
    begun = [step for step in verdict.history.steps if step.event == "begun"]
    assert any(step.words for step in begun), "no function was resumed from a checkpoint"


async def test_every_invariant_holds_while_any_process_dies() -> None:
    verdict = await run(SECONDS, seed=11)
    print(verdict.report())
    assert not verdict.broken
    assert verdict.counts["worker killed"]
    assert verdict.counts["worker paused beyond its lease"]
    assert verdict.counts["redis killed"]
    assert verdict.counts["api killed"]
    assert verdict.counts["partitions changed"]
    assert_functions_went_on(verdict)


@pytest.mark.long
async def test_every_invariant_holds_while_one_of_two_upstreams_breaks_or_is_away() -> None:
    verdict = await run(SECONDS, seed=11, upstreams=2)
    print(verdict.report())
    assert not verdict.broken
    assert verdict.counts["upstream reset"]
    assert verdict.counts["upstream away"]
    assert_functions_went_on(verdict)


@pytest.mark.long
async def test_what_is_over_is_handed_on_whatever_dies() -> None:
    verdict = await run(SECONDS, seed=11, hands_on=True)
    print(verdict.report())
    assert not verdict.broken
    assert verdict.history.handed is not None
    assert verdict.history.handed.rows
    assert verdict.counts["deliver killed"]
    assert verdict.counts["receiver killed"]
    assert verdict.counts["database locked"]


@pytest.mark.parametrize("kind", WITH_REPLICAS)
async def test_every_invariant_holds_while_masters_die_and_replicas_lack_writes(kind: str) -> None:
    verdict = await run(WITH_REPLICAS_SECONDS, seed=11, kind=kind)
    print(verdict.report())
    assert not verdict.broken
    assert verdict.counts["master killed"] + verdict.counts["master killed whose replica lags"]
    assert verdict.counts["worker killed"]
    if kind == "cluster":
        assert verdict.counts["slot moved"]


async def test_the_checker_finds_zombies_that_write_without_the_fence() -> None:
    verdict = await run(CONTROL_SECONDS, seed=12, is_fenced=False)
    print(verdict.report())
    assert_without_fence_is_found(verdict)


@pytest.mark.long
@pytest.mark.parametrize("kind", WITH_REPLICAS)
async def test_fail_overs_excuse_no_zombie_that_writes_without_the_fence(kind: str) -> None:
    verdict = await run(CONTROL_SECONDS, seed=12, kind=kind, is_fenced=False)
    print(verdict.report())
    assert_without_fence_is_found(verdict)
