"""Calls of AG-UI's clients."""

import asyncio
import json
from dataclasses import dataclass
from typing import Any

import httpx2

from tests.support.running_api import RunningApi
from tests.wires import folding
from tickertape.api.fanout.wire import SSE_COMMENT

HI = {"id": "u-1", "role": "user", "content": "hi"}


def body(*messages: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """A run as `@ag-ui/client` sends it."""
    run = {"threadId": "thread", "runId": "run-1", "protocolVersion": "1.0", "state": {}}
    rest: dict[str, Any] = {"tools": [], "context": [], "forwardedProps": {}}
    return {**run, "messages": list(messages) or [HI], **rest, **fields}


def run(api: RunningApi, *messages: dict[str, Any], **fields: Any) -> asyncio.Task[httpx2.Response]:
    """A run, whose answer is read to its end."""
    return asyncio.create_task(api.client.post("/agui", json=body(*messages, **fields)))


@dataclass
class Sent:
    """An event with its id."""

    cursor: str | None
    event: dict[str, Any]


def sent(answer: httpx2.Response | bytes) -> list[Sent]:
    """The events of a stream."""
    if isinstance(answer, httpx2.Response):
        assert answer.status_code == 200, answer.text
        answer = answer.content
    found = []
    for frame in answer.replace(SSE_COMMENT, b"").split(b"\n\n")[:-1]:
        *ids, data = frame.split(b"\n")
        cursor = ids[0].removeprefix(b"id: ").decode() if ids else None
        found.append(Sent(cursor, json.loads(data.removeprefix(b"data: "))))
    return found


def events(answer: httpx2.Response | bytes) -> list[dict[str, Any]]:
    """The events of a stream that ended in order, by the rules of its clients."""
    content = answer if isinstance(answer, bytes) else answer.content
    found = [each.event for each in sent(answer)]
    assert folding.agui(content.replace(SSE_COMMENT, b"")).is_over
    return found


def kinds(found: list[dict[str, Any]]) -> list[str]:
    return [event["type"] for event in found]
