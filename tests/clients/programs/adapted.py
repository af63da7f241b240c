"""Runs the same agent with a library, and prints the values that its adapter makes.

Arguments: the library, the base URL of an OpenAI-compatible server.
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import Any

import tickertape

LIBRARY, URL = sys.argv[1:]
ASKED = "Where is order 17?"


# The values in their order, and between them when the tool ran.
FOUND: list[tuple[str, dict[str, Any]]] = []


def look_up(order: str) -> str:
    """The state of an order."""
    FOUND.append(("the tool ran", {}))
    return f"{order} is on its way"


def openai_chunks() -> AsyncIterator[Any]:
    from openai import AsyncOpenAI

    async def stream() -> AsyncIterator[Any]:
        tool: Any = {"type": "function", "function": {"name": "look_up"}}
        chunks = await AsyncOpenAI(base_url=URL, api_key="none").chat.completions.create(
            model="any",
            messages=[{"role": "user", "content": ASKED}],
            tools=[tool],
            stream=True,
            stream_options={"include_usage": True},
        )
        async for chunk in chunks:
            yield chunk

    return tickertape.from_openai(stream())


def pydantic_ai() -> AsyncIterator[Any]:
    from pydantic_ai import Agent
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    model = OpenAIChatModel("any", provider=OpenAIProvider(base_url=URL, api_key="none"))
    agent = Agent(model, tools=[look_up])
    return tickertape.from_pydantic_ai(agent.run_stream_events(ASKED))


def langgraph() -> AsyncIterator[Any]:
    from langchain.agents import create_agent
    from langchain_openai import ChatOpenAI

    model = ChatOpenAI(model="any", base_url=URL, api_key="none", stream_usage=True)
    agent = create_agent(model, tools=[look_up])
    asked = {"messages": [("user", ASKED)]}
    return tickertape.from_langgraph(agent.astream(asked, stream_mode="messages"))


def openai_agents() -> AsyncIterator[Any]:
    from agents import (
        Agent,
        OpenAIChatCompletionsModel,
        Runner,
        function_tool,
        set_tracing_disabled,
    )
    from openai import AsyncOpenAI

    set_tracing_disabled(True)
    client = AsyncOpenAI(base_url=URL, api_key="none")
    model = OpenAIChatCompletionsModel(model="any", openai_client=client)
    agent = Agent(name="any", model=model, tools=[function_tool(look_up)])
    return tickertape.from_openai_agents(Runner.run_streamed(agent, ASKED).stream_events())


async def main() -> None:
    values = globals()[LIBRARY]()
    async for value in values:
        FOUND.append((type(value).__name__, asdict(value)))  # noqa: PERF401  # a tool adds to it, too
    print(json.dumps(FOUND))


asyncio.run(main())
