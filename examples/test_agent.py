"""Tests of the agent in agent.py, in a system that runs in this process.

python -m pytest test_agent.py
"""

import asyncio

import pytest
from agent import support  # type: ignore[import-not-found]  # beside this file

import tickertape
from tickertape.testing import system


def test_an_order_is_looked_up() -> None:
    """The agent says where the order is, and what it did to know that."""

    async def story() -> None:
        async with system(support) as running:
            answer = await running.ask("Where is order 17?")
            assert answer.text == "Order 17 is on its way. "
            assert answer.reasoning == "I look up order 17. "

    asyncio.run(story())


def test_an_answer_survives_the_death_of_its_worker() -> None:
    """Another worker begins again, and readers have one whole answer at the end."""

    async def story() -> None:
        async with system(support) as running:
            answer = await running.submit("Where are orders 17, 18 and 99?")
            await running.shows(answer, "Order 17 is on its way. ")
            await running.kill_worker()
            whole = await running.whole(answer)
            assert whole.text.endswith("Order 18 is delivered. Order 99 is unknown. ")

    asyncio.run(story())


def test_a_cancelled_answer_keeps_its_text() -> None:
    """A user stops the answer, and what was said stays."""

    async def story() -> None:
        async with system(support) as running:
            answer = await running.submit("Where are orders 17, 18 and 99?")
            await running.shows(answer, "Order 17 is on its way. ")
            await answer.cancel()
            with pytest.raises(tickertape.TickertapeError):
                await running.whole(answer)
            assert "on its way" in ((await answer.get()).text or "")

    asyncio.run(story())
