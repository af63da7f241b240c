"""Waiting ends with the condition, or with its description."""

import asyncio

import pytest

from tests.support.wait import wait_until, wait_until_sync


async def test_a_wait_returns_the_predicates_value() -> None:
    answers = iter([None, 0, "", "found"])
    assert await wait_until(lambda: next(answers), description="an answer") == "found"


async def test_an_async_predicate_is_awaited() -> None:
    event = asyncio.Event()
    asyncio.get_running_loop().call_soon(event.set)

    async def is_set() -> bool:
        return event.is_set()

    assert await wait_until(is_set, description="the event")


async def test_a_wait_that_times_out_names_its_condition() -> None:
    with pytest.raises(AssertionError, match="in vain for: the moon"):
        await wait_until(lambda: False, timeout_s=0.01, description="the moon")


async def test_a_predicate_that_never_returns_does_not_hang_the_test() -> None:
    with pytest.raises(AssertionError, match="a reply"):
        await wait_until(asyncio.Event().wait, timeout_s=0.01, description="a reply")


async def test_a_timeout_error_of_the_predicate_is_not_mistaken_for_the_waits() -> None:
    async def fails() -> bool:
        raise TimeoutError

    with pytest.raises(TimeoutError):
        await wait_until(fails, description="nothing")


def test_the_synchronous_wait_returns_and_names_its_condition() -> None:
    answers = iter([False, True])
    assert wait_until_sync(lambda: next(answers), description="an answer")
    with pytest.raises(AssertionError, match="the moon"):
        wait_until_sync(lambda: False, timeout_s=0.01, description="the moon")
