"""Calls of OpenAI's Responses in mid-flight."""

import asyncio
from typing import Any

from openai import AsyncOpenAI
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from tests.support.rig import Rig
from tests.wires.claiming import claimed

URL = "/v1/responses"
USAGE = {
    "prompt_tokens": 3,
    "completion_tokens": 4,
    "total_tokens": 7,
    "completion_tokens_details": {"reasoning_tokens": 2},
}
CALL = {"index": 0, "id": "call_a", "name": "look", "arguments": ""}
STRICT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
# The one event that is ours.
EXTENSION = "response.cancelled"


def ask(sdk: AsyncOpenAI, asked: Any = "hi", **fields: Any) -> asyncio.Task[Any]:
    """A call under way."""
    return asyncio.create_task(sdk.responses.create(**{"model": "m-1", "input": asked, **fields}))


async def read(stream: Any) -> list[Any]:
    return [event async for event in stream]


def checked(events: list[Any]) -> list[str]:
    """The types of the events, which the SDK's own types allow, numbered without holes."""
    assert [event.sequence_number for event in events] == list(range(len(events)))
    for event in events:
        if event.type != EXTENSION:
            STRICT.validate_python(event.to_dict(warnings=False), strict=False)
    return [event.type.removeprefix("response.") for event in events]


async def answered(
    sdk: AsyncOpenAI, worker: Rig, said: str, asked: Any = "hi", **fields: Any
) -> Response:
    """A response that was asked for and completed."""
    asking = ask(sdk, asked, **fields)
    await claimed(worker)
    await worker.type(said)
    await worker.finish(usage=USAGE)
    answer = await asking
    assert isinstance(answer, Response)
    return answer
