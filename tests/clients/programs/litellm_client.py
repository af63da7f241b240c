"""LiteLLM as a client: chat completions and Responses, whole and streamed."""

import json
from typing import Any

import litellm
from loop import PARAMETERS, QUESTION, add, run

FUNCTION = {"name": "add", "description": "Add two numbers.", "parameters": PARAMETERS}
litellm.suppress_debug_info = True
litellm.telemetry = False


async def chat(url: str) -> str:
    return await chat_loop(url, stream=False)


async def chat_stream(url: str) -> str:
    return await chat_loop(url, stream=True)


async def chat_loop(url: str, *, stream: bool) -> str:
    """Each message is given back as LiteLLM made it."""
    messages: list[Any] = [{"role": "user", "content": QUESTION}]
    while True:
        done: Any = await litellm.acompletion(
            model="openai/m", api_base=url, api_key="k", messages=messages, stream=stream,
            tools=[{"type": "function", "function": FUNCTION}], max_retries=0,
        )  # fmt: skip
        if stream:
            done = litellm.stream_chunk_builder([chunk async for chunk in done])
        message = done.choices[0].message
        if not message.tool_calls:
            return str(message.content)
        messages.append(message)
        for call in message.tool_calls:
            value = str(add(**json.loads(call.function.arguments)))
            messages.append({"role": "tool", "tool_call_id": call.id, "content": value})


async def responses(url: str) -> str:
    return await responses_loop(url, stream=False)


async def responses_stream(url: str) -> str:
    return await responses_loop(url, stream=True)


async def responses_loop(url: str, *, stream: bool) -> str:
    """The history is the client's."""
    items: list[Any] = [{"role": "user", "content": QUESTION}]
    while True:
        done: Any = await litellm.aresponses(
            model="openai/m", api_base=url, api_key="k", input=items, max_retries=0, stream=stream,
            tools=[{"type": "function", **FUNCTION}],
        )  # fmt: skip
        if stream:
            done = [event async for event in done][-1].response
        calls = [item for item in done.output if item.type == "function_call"]
        if not calls:
            return str(done.output_text)
        items += [item.model_dump(exclude_none=True) for item in done.output]
        items += [
            {
                "type": "function_call_output",
                "call_id": call.call_id,
                "output": str(add(**json.loads(call.arguments))),
            }
            for call in calls
        ]


run(
    {
        "chat": chat,
        "chat-stream": chat_stream,
        "responses": responses,
        "responses-stream": responses_stream,
    }
)
