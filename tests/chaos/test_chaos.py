"""A short run of each kind: the fence holds, and without it the checker finds what it should."""

import pytest

from tests.chaos.run import run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

SECONDS = 18


async def test_every_invariant_holds_while_any_process_dies() -> None:
    verdict = await run(SECONDS, seed=11)
    print(verdict.report())
    assert not verdict.broken
    assert verdict.counts["worker killed"]
    assert verdict.counts["worker paused beyond its lease"]
    assert verdict.counts["redis killed"]
    assert verdict.counts["api killed"]


async def test_the_checker_finds_zombies_that_write_without_the_fence() -> None:
    verdict = await run(SECONDS, seed=12, is_fenced=False)
    print(verdict.report())
    broken = {name.partition(" ")[0] for name in verdict.broken}
    # The fence prevents an attempt with the words of another one, and a second end.
    assert broken & {"I2", "I4"}
    assert "I7" in broken
