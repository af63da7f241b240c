"""OpenAI's Python client: chat completions and Responses, whole and streamed."""

import json
from collections.abc import Callable
from typing import Any

from loop import PARAMETERS, QUESTION, add, run
from openai import AsyncOpenAI

FUNCTION = {"name": "add", "description": "Add two numbers.", "parameters": PARAMETERS}
CHAT_TOOLS: Any = [{"type": "function", "function": FUNCTION}]
TOOLS: Any = [{"type": "function", "strict": True, **FUNCTION}]
LIMIT = 400
AGAIN: Any = {"role": "user", "content": "Say that again."}
PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwAD"
    "hgGAWjR9awAAAABJRU5ErkJggg=="
)


def client(url: str) -> AsyncOpenAI:
    return AsyncOpenAI(base_url=url, api_key="k", max_retries=0)


async def chat(url: str) -> str:
    """Each answer whole, and given back as the object that it came as."""
    messages: list[Any] = [
        {"role": "developer", "content": "Be short."},
        {"role": "user", "content": QUESTION},
    ]
    while True:
        done = await client(url).chat.completions.create(
            model="m", messages=messages, tools=CHAT_TOOLS, max_tokens=LIMIT
        )
        message = done.choices[0].message
        if not message.tool_calls and AGAIN in messages:
            return message.content or ""
        messages += [message, *map(output, message.tool_calls or [])]
        messages += [] if message.tool_calls else [AGAIN]


async def chat_stream(url: str) -> str:
    """Each answer put together by the client's own helper."""
    messages: list[Any] = [{"role": "user", "content": QUESTION}]
    while True:
        async with client(url).chat.completions.stream(
            model="m", messages=messages, tools=CHAT_TOOLS
        ) as stream:
            message = (await stream.get_final_completion()).choices[0].message
        if not message.tool_calls:
            return message.content or ""
        messages += [message, *map(output, message.tool_calls)]


def output(call: Any) -> Any:
    value = str(add(**json.loads(call.function.arguments)))
    return {"role": "tool", "tool_call_id": call.id, "content": value}


async def responses(url: str) -> str:
    """The history is the client's: `input += output`."""
    return await stateless_loop(url, item_output)


async def responses_image(url: str) -> str:
    """The same, with tools that show an image."""
    return await stateless_loop(url, image_output)


async def stateless_loop(url: str, answered: Callable[[Any], Any]) -> str:
    items: list[Any] = [{"role": "user", "content": QUESTION}]
    while True:
        done = await client(url).responses.create(
            model="m", input=items, tools=TOOLS, max_output_tokens=LIMIT, store=False,
            instructions="Be short.", include=["reasoning.encrypted_content"],
        )  # fmt: skip
        outputs = [answered(item) for item in done.output if item.type == "function_call"]
        if not outputs and AGAIN in items:
            return done.output_text
        items += [*done.output, *(outputs or [AGAIN])]


async def responses_stream(url: str) -> str:
    """The history is the server's: `previous_response_id`."""
    items: list[Any] = [
        {"role": "developer", "content": "Be short."},
        {"role": "user", "content": QUESTION},
    ]
    previous: Any = {}
    while True:
        async with client(url).responses.stream(
            model="m", input=items, tools=TOOLS, **previous
        ) as stream:
            done = await stream.get_final_response()
        outputs = [item_output(item) for item in done.output if item.type == "function_call"]
        if not outputs:
            return done.output_text
        items, previous = outputs, {"previous_response_id": done.id}


def item_output(item: Any) -> Any:
    value = str(add(**json.loads(item.arguments)))
    return {"type": "function_call_output", "call_id": item.call_id, "output": value}


def image_output(item: Any) -> Any:
    said = item_output(item)
    parts = [{"type": "input_text", "text": said["output"]}]
    return said | {"output": [*parts, {"type": "input_image", "image_url": PIXEL}]}


run(
    {
        "chat": chat,
        "chat-stream": chat_stream,
        "responses": responses,
        "responses-image": responses_image,
        "responses-stream": responses_stream,
    }
)
