"""A Pydantic AI agent with two tools, none of which runs twice if its worker dies.

pip install "pydantic-ai-slim[openai]"
tickertape up --functions pydantic_agent
tickertape chat -m shop-agent "Order 17 never came. I want my money back."
"""

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from pydantic_ai import Agent, RunContext
from pydantic_ai.messages import (
    ModelMessage,
    ModelMessagesTypeAdapter,
    ModelRequest,
    ModelResponse,
    TextPart,
    UserPromptPart,
)
from pydantic_ai.models.openai import OpenAIChatModel

import tickertape

ORDERS = {"17": "lost on its way", "18": "delivered"}


def look_up(order: str) -> str:
    """What happened to an order."""
    return ORDERS.get(order, "unknown")


def refund(ctx: RunContext[str], order: str) -> str:
    """Give a customer the money for an order back."""
    with Path("refunds.txt").open("a", encoding="utf-8") as book:  # stands for your bank
        book.write(f"{order} {ctx.deps}\n")
    return f"Order {order} is refunded."


agent = Agent(
    OpenAIChatModel(os.environ.get("AGENT_MODEL", "gpt-4.1-mini")),
    deps_type=str,
    instructions="You help the customers of a shop.",
    tools=[look_up, refund],
)


@tickertape.function("shop-agent")
async def shop(
    request: tickertape.Request, context: tickertape.Context
) -> AsyncIterator[tickertape.Value]:
    """Answers with the agent, and goes on behind the last tool if a worker dies."""
    if context.state:
        prompt, messages = None, ModelMessagesTypeAdapter.validate_python(context.state)
    else:
        prompt, messages = request.text, earlier_turns(request.history)
    async with agent.iter(prompt, message_history=messages, deps=request.id) as run:
        async for node in run:
            if agent.is_model_request_node(node):
                sent = [*run.all_messages(), node.request]
                await context.checkpoint(ModelMessagesTypeAdapter.dump_python(sent, mode="json"))
            if agent.is_model_request_node(node) or agent.is_call_tools_node(node):
                async for value in tickertape.from_pydantic_ai(node.stream(run.ctx)):
                    yield value
    yield tickertape.Usage(run.usage.input_tokens, run.usage.output_tokens)


def earlier_turns(history: list[dict[str, Any]]) -> list[ModelMessage]:
    """The texts of a conversation in the form of Pydantic AI."""
    turns: list[ModelMessage] = []
    for message in history:
        if message["role"] == "user":
            turns.append(ModelRequest(parts=[UserPromptPart(message["content"])]))
        elif message["role"] == "assistant" and message.get("content"):
            turns.append(ModelResponse(parts=[TextPart(message["content"])]))
    return turns
