"""Steps that many callers share, and none of which is older than a call that it serves."""

import asyncio

import pytest

from tickertape.broker.errors import Unavailable
from tickertape.broker.shared_steps import SharedSteps


async def test_callers_who_come_meanwhile_share_the_next_step_and_not_the_present_one() -> None:
    shared, gate, has_begun, begun = SharedSteps[int](), asyncio.Event(), asyncio.Event(), 0

    async def step() -> int:
        nonlocal begun
        begun += 1
        mine = begun
        has_begun.set()
        await gate.wait()
        return mine

    first = asyncio.create_task(shared.run("a", step))
    await has_begun.wait()
    others = [asyncio.create_task(shared.run("a", step)) for _ in range(9)]
    # The tasks ask before the first step goes on, because they were ready earlier.
    gate.set()
    assert await first == 1
    assert await asyncio.gather(*others) == [2] * 9


async def test_a_failure_is_raised_to_one_caller_and_the_next_one_tries_again() -> None:
    shared, gate, has_failed = SharedSteps[int](), asyncio.Event(), False

    async def step() -> int:
        nonlocal has_failed
        await gate.wait()
        if not has_failed:
            has_failed = True
            raise Unavailable
        return 7

    calls = [asyncio.create_task(shared.run("a", step)) for _ in range(3)]
    gate.set()
    with pytest.raises(Unavailable):
        await calls[0]
    assert [await call for call in calls[1:]] == [7, 7]
