"""The input of a response: the messages that reach the model, and refusals that name the field."""

import json
from typing import Any

import pytest
from openai import AsyncOpenAI

from tests.support.rig import Rig
from tests.support.running_api import RunningApi
from tests.wires.claiming import claimed
from tests.wires.responding import URL, answered, ask

HI = {"role": "user", "content": "hi"}
TOOL = {"type": "function", "name": "f", "parameters": {}}
CALL = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}


def with_part(part: dict[str, Any]) -> dict[str, Any]:
    return {"input": [{"role": "user", "content": [part]}]}


async def test_roles_and_other_kinds_of_input_reach_the_model(
    sdk: AsyncOpenAI, worker: Rig
) -> None:
    content = [
        {"type": "input_text", "text": "What?"},
        {"type": "input_image", "image_url": "https://example.org/a.png", "detail": "low"},
        {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,AA"},
    ]
    items: Any = [
        {"role": "developer", "content": "Be."},
        {"type": "reasoning", "id": "rs_1", "summary": []},
        {"role": "user", "content": content},
    ]
    asking = ask(sdk, items, model="role:sql", include=["message.output_text.logprobs"])
    payload = await claimed(worker)
    await worker.finish()
    await asking
    assert payload["role_messages"]
    assert payload["params"] == {"logprobs": True}
    assert payload["messages"] == [
        {"role": "developer", "content": "Be."},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What?"},
                {
                    "type": "image_url",
                    "image_url": {"url": "https://example.org/a.png", "detail": "low"},
                },
                {
                    "type": "file",
                    "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,AA"},
                },
            ],
        },
    ]


@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        ({"input": None}, "input"),
        ({"input": []}, "input"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "input[0].type"),
        ({"input": [{"role": "god", "content": "x"}]}, "input[0].role"),
        ({"input": [{"role": "user", "content": 3}]}, "input[0].content"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "f"}]}]},
            "input[0].content[0]",
        ),
        ({"background": True, "store": False}, "store"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"tools": [TOOL], "tool_choice": {"type": "mcp"}}, "tool_choice"),
        ({"tools": [TOOL, {"type": "function", "function": {"name": "f"}}]}, "tools[1].function"),
        ({"tools": [{"function": {"name": "f"}}]}, "tools[0].function"),
        ({"tools": [{"type": "function"}]}, "tools[0].name"),
        (
            {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "f"}}},
            "tool_choice.function",
        ),
        (
            {"text": {"format": {"type": "json_schema", "json_schema": {"name": "s"}}}},
            "text.format.json_schema",
        ),
        (
            with_part({"type": "input_file", "file_data": {"a": 1}}),
            "input[0].content[0].file_data",
        ),
        ({"text": {"format": {"type": "yaml"}}}, "text.format"),
        ({"conversation": "c"}, "conversation"),
        ({"prompt": {"id": "p"}}, "prompt"),
        ({"n": 2}, "n"),
        ({"truncation": "auto"}, "truncation"),
        ({"metadata": {"a": 1}}, "metadata.a"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"input": [3]}, "input[0]"),
        ({"input": [{"type": "reasoning", "summary": []}]}, "input"),
        ({"input": [{"type": ["message"], "content": "x"}]}, "input[0].type"),
        ({"input": [{"role": ["user"], "content": "x"}]}, "input[0].role"),
        ({"input": [{"role": {"a": 1}, "content": "x"}]}, "input[0].role"),
        (with_part({"type": ["input_text"]}), "input[0].content[0]"),
        (with_part({"type": "input_text", "text": None}), "input[0].content[0].text"),
        (with_part({"type": "input_text"}), "input[0].content[0].text"),
        (with_part({"type": "refusal", "refusal": 1}), "input[0].content[0].refusal"),
        (
            with_part({"type": "input_image", "image_url": {"url": "x"}}),
            "input[0].content[0].image_url",
        ),
        ({"input": [{"type": "function_call"}]}, "input[0].name"),
        ({"input": [{**CALL, "arguments": {"a": 1}}]}, "input[0].arguments"),
        ({"input": [{**CALL, "call_id": None}]}, "input[0].call_id"),
        ({"input": [CALL, {"type": "function_call_output", "output": "3"}]}, "input[1].call_id"),
        (
            {"input": [{"type": "function_call_output", "call_id": "c", "output": {}}]},
            "input[0].output",
        ),
    ],
)
async def test_a_wrong_call_is_refused_by_name(
    api: RunningApi, wrong: dict[str, Any], param: str
) -> None:
    answer = await api.client.post(
        URL,
        content=json.dumps({"input": "hi", **wrong}),
        headers={"Content-Type": "application/json"},
    )
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["param"] == param


async def test_items_with_ids_of_the_caller_are_listed_to_the_end(
    sdk: AsyncOpenAI, worker: Rig
) -> None:
    items = [{**HI, "id": item_id} for item_id in ("same", "same", 5, None)]
    done = await answered(sdk, worker, "a", items)
    listed = [item async for item in await sdk.responses.input_items.list(done.id, limit=1)]
    assert len({item.id for item in listed}) == len(listed) == 4
