"""Calls of the AI SDK's pages."""

import asyncio
import json
from typing import Any
from urllib.parse import quote

import httpx2

from tests.support.running_api import RunningApi

HI = {"id": "u-1", "role": "user", "parts": [{"type": "text", "text": "hi"}]}


def body(chat_id: str = "chat-1", *messages: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"id": chat_id, "messages": list(messages) or [HI], "trigger": "submit-message"} | fields


def send(api: RunningApi, *args: Any, **fields: Any) -> asyncio.Task[httpx2.Response]:
    return asyncio.create_task(api.client.post("/api/chat", json=body(*args, **fields)))


async def resume(
    api: RunningApi, chat_id: str = "chat-1", path: str = "/api/chat"
) -> httpx2.Response:
    """A resumed stream of which only the head was read."""
    request = api.client.build_request("GET", f"{path}/{quote(chat_id, safe='')}/stream")
    answer = await api.client.send(request, stream=True)
    assert answer.status_code == 200
    return answer


def chunks(answer: httpx2.Response) -> list[dict[str, Any]]:
    """The chunks of a stream that ended in order."""
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-vercel-ai-ui-message-stream"] == "v1"
    frames = [line for line in answer.text.split("\n\n") if line and not line.startswith(":")]
    assert frames.pop() == "data: [DONE]"
    return [json.loads(frame.removeprefix("data: ")) for frame in frames]
