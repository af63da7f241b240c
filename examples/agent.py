"""An agent of one's own, which answers requests in place of the model.

tickertape up --functions agent
tickertape chat -m support-agent "Where is order 17?"
"""

import asyncio
import re
from collections.abc import AsyncIterator

import tickertape

ORDERS = {"17": "on its way", "18": "delivered"}


async def look_up(number: str) -> str:
    """The state of an order; stands for a call of your own system."""
    await asyncio.sleep(0.05)
    return ORDERS.get(number, "unknown")


@tickertape.function("support-agent")
async def support(request: tickertape.Request) -> AsyncIterator[str | tickertape.Reasoning]:
    """Answers questions about orders."""
    numbers = re.findall(r"\d+", request.text)
    if not numbers:
        yield "Which order do you mean?"
    for number in numbers:
        yield tickertape.Reasoning(f"I look up order {number}. ")
        yield f"Order {number} is {await look_up(number)}. "
