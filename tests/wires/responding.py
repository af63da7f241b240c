"""Running calls of OpenAI's Responses."""

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
# The one event that Tickertape adds.
EXTENSION = "response.cancelled"


def ask(sdk: AsyncOpenAI, messages_or_text: Any = "hi", **fields: Any) -> asyncio.Task[Any]:
    """Start a call in the background."""
    return asyncio.create_task(
        sdk.responses.create(**{"model": "m-1", "input": messages_or_text, **fields})
    )


async def read(stream: Any) -> list[Any]:
    return [event async for event in stream]


def checked(events: list[Any]) -> list[str]:
    """The types of the events, checked for gaps in their numbers and by the SDK's types."""
    assert [event.sequence_number for event in events] == list(range(len(events)))
    for event in events:
        if event.type != EXTENSION:
            STRICT.validate_python(event.to_dict(warnings=False), strict=False)
    return [event.type.removeprefix("response.") for event in events]


async def answered(
    sdk: AsyncOpenAI, worker: Rig, text: str, messages_or_text: Any = "hi", **fields: Any
) -> Response:
    """Create a response whose answer is `text`, and wait for it."""
    asking = ask(sdk, messages_or_text, **fields)
    await claimed(worker)
    await worker.type(text)
    await worker.finish(usage=USAGE)
    answer = await asking
    assert isinstance(answer, Response)
    return answer
