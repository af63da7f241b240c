"""How work is interrupted by another task."""

import asyncio
import contextlib

import pytest

from tickertape.worker.interruption import Interruption
from tickertape.worker.outcome import Stop


async def never_started() -> None:
    raise AssertionError("the work is not started")


async def test_interrupted_work_ends_and_its_caller_gets_the_reason() -> None:
    interruption = Interruption()
    asyncio.get_running_loop().call_soon(interruption.interrupt, Stop.FENCED)
    assert await interruption.run(asyncio.Event().wait) is Stop.FENCED
    await asyncio.sleep(0)  # the task itself is not cancelled


async def test_only_the_first_reason_counts() -> None:
    interruption = Interruption()
    interruption.interrupt(Stop.FENCED)
    interruption.interrupt(Stop.DRAINED)
    assert await interruption.run(never_started) is Stop.FENCED


async def test_an_interruption_lasts_for_all_later_work() -> None:
    interruption = Interruption()
    assert await interruption.run(lambda: asyncio.sleep(0, "done")) == "done"
    interruption.interrupt(Stop.DRAINED)
    for _ in range(2):
        assert await interruption.run(never_started) is Stop.DRAINED


async def test_work_that_has_ended_cannot_be_interrupted() -> None:
    interruption = Interruption()
    await interruption.run(lambda: asyncio.sleep(0))
    interruption.interrupt(Stop.DRAINED)
    await asyncio.sleep(0)


async def test_an_error_of_the_work_wins_over_the_reason() -> None:
    interruption = Interruption()
    asyncio.get_running_loop().call_soon(interruption.interrupt, Stop.FENCED)

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise KeyError

    with pytest.raises(KeyError):
        await interruption.run(work)
    await asyncio.sleep(0)


async def test_work_that_swallows_the_interruption_is_reported_as_interrupted() -> None:
    interruption = Interruption()
    asyncio.get_running_loop().call_soon(interruption.interrupt, Stop.FENCED)

    async def work() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()

    assert await interruption.run(work) is Stop.FENCED


async def test_a_cancellation_from_elsewhere_stays_a_cancellation() -> None:
    interruption = Interruption()
    task = asyncio.create_task(interruption.run(asyncio.Event().wait))
    await asyncio.sleep(0)
    interruption.interrupt(Stop.FENCED)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
