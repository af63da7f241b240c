"""Every process and Redis are replaced, one after the other, while clients of every wire ask."""

import signal
from dataclasses import replace
from pathlib import Path

import pytest

from tests.rolling.run import Recipe, run
from tests.support.releases import COMMITS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

# `make rolling` is the long run.
SHORT = Recipe(streams=22, seconds=(1.0, 6.0))


# CI restarts every process in the test of an upgrade.
@pytest.mark.long
@pytest.mark.parametrize("redis", ["one", "sentinel"])
async def test_a_rolling_restart_costs_no_client_an_answer_and_no_answer_is_paid_twice(
    tmp_path: Path, redis: str
) -> None:
    verdict = await run(replace(SHORT, redis=redis), tmp_path)
    assert verdict.is_clean, verdict.report()


@pytest.mark.parametrize("version", COMMITS)
async def test_an_upgrade_costs_no_client_an_answer_and_no_answer_is_paid_twice(
    tmp_path: Path, version: str
) -> None:
    verdict = await run(replace(SHORT, from_version=version), tmp_path)
    assert verdict.is_clean, verdict.report()


@pytest.mark.long
async def test_processes_that_are_killed_do_cost_answers(tmp_path: Path) -> None:
    """The control: a run that breaks the rules must not be clean."""
    verdict = await run(replace(SHORT, signal_=signal.SIGKILL), tmp_path)
    assert verdict.heard.odd
    assert verdict.lost
    assert verdict.paid_twice
