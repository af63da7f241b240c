"""OpenAI's Agents SDK: chat completions and Responses, whole and streamed."""

from typing import Any

from agents import (
    Agent,
    ModelSettings,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    Runner,
    function_tool,
    set_tracing_disabled,
)
from loop import QUESTION, add, run
from openai import AsyncOpenAI

set_tracing_disabled(True)


def agent(url: str, kind: Any) -> Any:
    client = AsyncOpenAI(base_url=url, api_key="k", max_retries=0)
    settings = ModelSettings(max_tokens=400, parallel_tool_calls=True)
    return Agent(
        name="adder",
        instructions="Be short.",
        tools=[function_tool(add)],
        model=kind(model="m", openai_client=client),
        model_settings=settings,
    )


def whole(kind: Any, **options: Any) -> Any:
    async def loop(url: str) -> str:
        done = await Runner.run(agent(url, kind), QUESTION, **options)
        return str(done.final_output)

    return loop


def streamed(kind: Any) -> Any:
    async def loop(url: str) -> str:
        running = Runner.run_streamed(agent(url, kind), QUESTION)
        async for _ in running.stream_events():
            pass
        return str(running.final_output)

    return loop


run(
    {
        "chat": whole(OpenAIChatCompletionsModel),
        "chat-stream": streamed(OpenAIChatCompletionsModel),
        "responses": whole(OpenAIResponsesModel),
        "responses-stream": streamed(OpenAIResponsesModel),
        "responses-previous": whole(OpenAIResponsesModel, auto_previous_response_id=True),
    }
)
