"""The obvious version in one file: a task per answer, an XADD per token, an XREAD per reader.

As the guides of FastAPI, redis-py and the openai SDK show the parts. obvious.py runs two processes.
"""

import asyncio
import os
import uuid
from collections.abc import AsyncIterable
from typing import Annotated, Any

from fastapi import Body, FastAPI
from fastapi.sse import EventSourceResponse, ServerSentEvent
from openai import AsyncOpenAI
from redis.asyncio import Redis

app = FastAPI()
redis = Redis.from_url(os.environ["REDIS_URL"], max_connections=20_000, socket_timeout=None)
client = AsyncOpenAI()
answering: set[asyncio.Task[None]] = set()


@app.post("/chat")
async def chat(prompt: Annotated[str, Body(embed=True)]) -> dict[str, str]:
    """Begin an answer, and return its name."""
    name = f"answer:{uuid.uuid4()}"
    task = asyncio.create_task(answer(name, prompt))
    answering.add(task)
    task.add_done_callback(answering.discard)
    return {"id": name}


async def answer(name: str, prompt: str) -> None:
    """Write each token of an answer into its stream."""
    messages: Any = [{"role": "user", "content": prompt}]
    stream = await client.chat.completions.create(model="bench", messages=messages, stream=True)
    async for chunk in stream:
        if chunk.choices and chunk.choices[0].delta.content:
            await redis.xadd(name, {"text": chunk.choices[0].delta.content})
    await redis.xadd(name, {"done": "1"})


@app.get("/read/{name}", response_class=EventSourceResponse)
async def read(name: str) -> AsyncIterable[ServerSentEvent]:
    """Yield the tokens of an answer, and end after the last one."""
    last = "0"
    while True:
        found: Any = await redis.xread({name: last}, block=5000)
        for _, entries in found:
            for entry_id, fields in entries:
                last = entry_id.decode()
                if b"done" in fields:
                    yield ServerSentEvent(data={"done": True}, event="done")
                    return
                yield ServerSentEvent(data={"text": fields[b"text"].decode()}, id=last)
