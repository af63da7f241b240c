"""How a piece of work is left from outside."""

import asyncio
import contextlib

import pytest

from tickertape.worker.interruption import Interruption


class ReasonError(Exception):
    pass


async def test_an_interruption_leaves_the_block_with_its_reason() -> None:
    interruption = Interruption()
    asyncio.get_running_loop().call_soon(interruption.interrupt, ReasonError("x"))
    with pytest.raises(ReasonError, match="x"):
        async with interruption:
            await asyncio.Event().wait()
    await asyncio.sleep(0)  # the task itself is not cancelled


async def test_only_the_first_reason_counts() -> None:
    interruption = Interruption()
    interruption.interrupt(ReasonError("first"))
    interruption.interrupt(ReasonError("second"))
    with pytest.raises(ReasonError, match="first"):
        async with interruption:
            raise AssertionError("the block is not entered")


async def test_a_reason_that_is_there_raises_at_each_entry() -> None:
    interruption = Interruption()
    async with interruption:
        pass
    interruption.interrupt(ReasonError())
    for _ in range(2):
        with pytest.raises(ReasonError):
            async with interruption:
                raise AssertionError("the block is not entered")


async def test_a_block_that_ends_in_time_is_not_touched_afterwards() -> None:
    interruption = Interruption()
    async with interruption:
        await asyncio.sleep(0)
    interruption.interrupt(ReasonError())
    await asyncio.sleep(0)


async def test_an_error_of_the_work_itself_wins_over_the_reason() -> None:
    interruption = Interruption()
    asyncio.get_running_loop().call_soon(interruption.interrupt, ReasonError())

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise KeyError

    with pytest.raises(KeyError):
        async with interruption:
            await work()
    await asyncio.sleep(0)


async def test_work_that_swallows_the_interruption_is_left_all_the_same() -> None:
    interruption = Interruption()
    asyncio.get_running_loop().call_soon(interruption.interrupt, ReasonError())

    async def work() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()

    with pytest.raises(ReasonError):
        async with interruption:
            await work()


async def test_a_cancellation_from_elsewhere_stays_one() -> None:
    interruption = Interruption()

    async def work() -> None:
        async with interruption:
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    interruption.interrupt(ReasonError())
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
