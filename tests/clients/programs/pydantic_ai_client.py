"""Pydantic AI: chat completions and Responses, whole and streamed."""

from typing import Any

from loop import QUESTION, add, run
from openai import AsyncOpenAI
from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.openai import OpenAIProvider


def agent(url: str, kind: Any, settings: Any = None) -> Any:
    client = AsyncOpenAI(base_url=url, api_key="k", max_retries=0)
    model = kind("m", provider=OpenAIProvider(openai_client=client), settings=settings)
    return Agent(model, tools=[add], instructions="Be short.", retries=0)


def whole(kind: Any, **settings: Any) -> Any:
    async def loop(url: str) -> str:
        return str((await agent(url, kind, settings).run(QUESTION)).output)

    return loop


def streamed(kind: Any) -> Any:
    # `run_stream` takes the first text for the answer, and leaves the calls behind it alone.
    async def loop(url: str) -> str:
        async with agent(url, kind).run_stream_events(QUESTION) as events:
            *_, last = [event async for event in events]
        return str(last.result.output)

    return loop


run(
    {
        "chat": whole(OpenAIChatModel, max_tokens=400),
        "chat-stream": streamed(OpenAIChatModel),
        "responses": whole(OpenAIResponsesModel, max_tokens=400),
        "responses-stream": streamed(OpenAIResponsesModel),
        "responses-previous": whole(OpenAIResponsesModel, openai_previous_response_id="auto"),
    }
)
