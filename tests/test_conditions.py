"""Conditions: which are fatal is a table for each process, and each change is logged once."""

import asyncio

import pytest
import structlog

from tests.support.tasks import running
from tests.support.wait import wait_until
from tickertape.api.readiness import OF_API
from tickertape.deliver.health import OF_DELIVER
from tickertape.runtime.conditions import Code, Condition, Conditions, Looks
from tickertape.worker.readiness import OF_WORKER

# API, worker, deliver: whether the process is not ready. None: it cannot have the condition.
CASES = {
    Code.DRAINING: (None, True, True),
    Code.OLD_SERVER: (True, True, True),
    Code.RIGHTS: (True, True, True),
    Code.READ_ONLY: (True, True, True),
    Code.MEMORY_FULL: (False, True, False),
    Code.WRITES_REFUSED: (True, True, True),
    Code.STARTING: (True, True, True),
    Code.LOOPS_HANG: (None, True, True),
    Code.TASK_REFUSED: (True, True, True),
    Code.PUSHES_DOWN: (True, True, None),
    Code.CLUSTER_NODE: (False, False, False),
    Code.REDIS_SILENT: (True, True, True),
    Code.UPSTREAM_KEY: (False, True, None),
    Code.NO_UPSTREAM: (False, True, None),
    Code.UPSTREAM: (False, True, None),
    Code.UPSTREAM_REFUSED: (None, False, None),
    Code.NO_WORKER: (False, None, None),
    Code.HISTORY_AWAY: (None, None, True),
    Code.SECRET_REFUSED: (False, False, False),
}


@pytest.mark.parametrize("code", Code)
def test_each_kind_of_process_decides_separately_which_conditions_are_fatal(code: Code) -> None:
    for table, is_fatal in zip((OF_API, OF_WORKER, OF_DELIVER), CASES[code], strict=True):
        if is_fatal is None:
            assert code not in table
            continue
        conditions = Conditions(table)
        conditions.update([Condition(code, "words")])
        assert conditions.all == [(code, "words")]
        assert (conditions.fatal is not None) is is_fatal
        assert conditions.gauge() == {each: float(each is code) for each in table}


def test_the_cause_is_reported_before_its_effects() -> None:
    conditions = Conditions(OF_API)
    found = [Condition(code, code) for code in reversed([*OF_API])]
    conditions.update(found)
    assert [each.code for each in conditions.all][:2] == [Code.OLD_SERVER, Code.RIGHTS]
    conditions.update([Condition(Code.NO_WORKER, ""), Condition(Code.MEMORY_FULL, "")])
    assert [each.code for each in conditions.all] == [Code.MEMORY_FULL, Code.NO_WORKER]


def test_each_change_is_logged_once_and_a_quiet_one_by_another_part() -> None:
    conditions = Conditions(OF_WORKER)
    full = Condition(Code.MEMORY_FULL, "OOM command not allowed")
    with structlog.testing.capture_logs() as logged:
        for found in ([full], [full], [full, Condition(Code.UPSTREAM, "x")], [], [], [full]):
            conditions.update(found)
    assert [(line["event"], line["code"]) for line in logged] == [
        ("a condition began", "memory_full"),
        ("a condition ended", "memory_full"),
        ("a condition began", "memory_full"),
    ]
    assert (logged[0]["reason"], logged[0]["is_fatal"]) == ("OOM command not allowed", True)


async def test_a_look_that_fails_is_logged_once_and_followed_by_others() -> None:
    count = 0

    async def look() -> list[Condition]:
        nonlocal count
        count += 1
        if count < 4:
            raise ValueError
        return [Condition(Code.NO_WORKER, "")]

    looks = Looks(look, Conditions(OF_API), age_s=0)
    with structlog.testing.capture_logs() as logged:
        async with running(looks.run(0)):
            await wait_until(lambda: looks.conditions.all, description="a look that succeeds")
    assert [line["event"] for line in logged] == ["a look at the conditions failed"]


async def test_one_look_answers_all_who_ask_while_it_is_good() -> None:
    count = 0

    async def look() -> list[Condition]:
        nonlocal count
        count += 1
        await asyncio.sleep(0)
        return []

    looks = Looks(look, Conditions(OF_API), age_s=60)
    await asyncio.gather(*(looks.newest() for _ in range(50)))
    assert count == 1
    fresh = Looks(look, Conditions(OF_API), age_s=0)
    await fresh.newest()
    await fresh.newest()
    assert count == 3
