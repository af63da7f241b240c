"""An agent of LangChain, a graph of LangGraph, none of whose tools runs twice if its worker dies.

pip install langchain langchain-openai
tickertape up --functions langgraph_agent
tickertape chat -m shop-graph "Order 17 never came. I want my money back."
"""

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from langchain.agents import create_agent
from langchain_core.messages import messages_from_dict, messages_to_dict
from langchain_core.runnables import RunnableConfig
from langchain_openai import ChatOpenAI

import tickertape

ORDERS = {"17": "lost on its way", "18": "delivered"}


def look_up(order: str) -> str:
    """What happened to an order."""
    return ORDERS.get(order, "unknown")


def refund(order: str, config: RunnableConfig) -> str:
    """Give a customer the money for an order back."""
    with Path("refunds.txt").open("a", encoding="utf-8") as book:  # stands for your bank
        book.write(f"{order} {config['configurable']['request_id']}\n")
    return f"Order {order} is refunded."


graph = create_agent(
    ChatOpenAI(model=os.environ.get("AGENT_MODEL", "gpt-4.1-mini"), stream_usage=True),
    tools=[look_up, refund],
    system_prompt="You help the customers of a shop.",
)


@tickertape.function("shop-graph")
async def shop(
    request: tickertape.Request, context: tickertape.Context
) -> AsyncIterator[tickertape.Value]:
    """Answers with the graph, and goes on behind the last tool if a worker dies."""
    messages = messages_from_dict(context.state) if context.state else request.messages
    stream = graph.astream(
        {"messages": messages},
        {"configurable": {"request_id": request.id}},
        stream_mode=["messages", "values"],
    )
    async for value in tickertape.from_langgraph(messages_of(stream, context)):
        yield value


async def messages_of(
    stream: AsyncIterator[Any], context: tickertape.Context
) -> AsyncIterator[Any]:
    """The messages of a graph, with a checkpoint behind each step that has run tools."""
    async for mode, part in stream:
        if mode == "messages":
            yield part
        elif part["messages"][-1].type == "tool":
            await context.checkpoint(messages_to_dict(part["messages"]))
