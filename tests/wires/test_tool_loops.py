"""A loop of two parallel tools, against upstreams with the refusals of each family.

openai-agents-python#4506: without the thought signature, the second step of every loop over Gemini
was a 400.
"""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from openai import AsyncOpenAI

from tests.support.rig import working
from tests.support.strict_upstream import ANSWER, QUESTION, StrictUpstream
from tests.support.upstream import ScriptedUpstream
from tickertape.runtime.settings import Settings

PARAMETERS = {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}}
ADD = {"name": "add", "parameters": PARAMETERS}


@pytest.fixture(params=["openai", "mistral", "deepseek", "kimi", "gemini", "ollama"])
async def strict(
    request: pytest.FixtureRequest, redis_url: str, upstream: ScriptedUpstream
) -> AsyncIterator[StrictUpstream]:
    strict = StrictUpstream(request.param)
    upstream.script = strict.script
    async with working(redis_url, Settings(openai_base_url=upstream.base_url, openai_model="m")):
        yield strict


def added(arguments: str) -> str:
    parsed = json.loads(arguments)
    return str(parsed["a"] + parsed["b"])


async def message(sdk: AsyncOpenAI, **fields: Any) -> Any:
    return (await sdk.chat.completions.create(model="m", **fields)).choices[0].message


def refused(strict: StrictUpstream) -> list[str]:
    """The refusals, except those by which a worker learns about an unknown upstream."""
    return [name for name in strict.refusals if name != "Mistral has no stream_options"]


async def test_a_tool_loop_over_chat_completions(sdk: AsyncOpenAI, strict: StrictUpstream) -> None:
    messages: list[Any] = [{"role": "user", "content": QUESTION}]
    tools: Any = [{"type": "function", "function": ADD}]
    first = await message(sdk, messages=messages, tools=tools)
    results = [
        {"role": "tool", "tool_call_id": call.id, "content": added(call.function.arguments)}
        for call in first.tool_calls or []
    ]
    answer_message = {"content": None, **first.to_dict(exclude_none=True)}
    second = await message(sdk, messages=[*messages, answer_message, *results], tools=tools)
    assert second.content == ANSWER
    assert refused(strict) == []


async def test_a_tool_loop_over_a_chain_of_responses(
    sdk: AsyncOpenAI, strict: StrictUpstream
) -> None:
    tools: Any = [{"type": "function", **ADD}]
    first = await sdk.responses.create(model="m", input=QUESTION, tools=tools)
    second = await sdk.responses.create(
        model="m", input=outputs(first.output), previous_response_id=first.id, tools=tools
    )
    assert second.output_text == ANSWER
    assert refused(strict) == []


async def test_a_tool_loop_over_responses_that_resend_the_items(
    sdk: AsyncOpenAI, strict: StrictUpstream
) -> None:
    tools: Any = [{"type": "function", **ADD}]
    items: list[Any] = [{"role": "user", "content": QUESTION}]
    first = await sdk.responses.create(model="m", input=items, tools=tools)
    items += first.output
    second = await sdk.responses.create(model="m", input=items + outputs(first.output), tools=tools)
    assert second.output_text == ANSWER
    assert refused(strict) == []


def outputs(items: list[Any]) -> list[Any]:
    return [
        {"type": "function_call_output", "call_id": item.call_id, "output": added(item.arguments)}
        for item in items
        if item.type == "function_call"
    ]
