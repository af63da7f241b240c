"""Running calls of OpenAI's Chat Completions."""

import asyncio
from typing import Any

from openai import AsyncOpenAI
from openai.types.chat import ChatCompletionChunk

URL = "/v1/chat/completions"
HI = {"role": "user", "content": "hi"}
USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}


def ask(sdk: AsyncOpenAI, **fields: Any) -> asyncio.Task[Any]:
    """Start a call in the background."""
    messages: Any = [HI]
    call = sdk.chat.completions.create(**{"model": "m-1", "messages": messages, **fields})
    return asyncio.create_task(call)


async def read(
    stream: Any, into: list[ChatCompletionChunk] | None = None
) -> list[ChatCompletionChunk]:
    """The chunks of the stream; `into` has them even if the stream ends with an error."""
    chunks = [] if into is None else into
    async for chunk in stream:
        chunks.append(chunk)  # even if an error follows
    return chunks


def text_of(chunks: list[ChatCompletionChunk]) -> str:
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
