"""The streams of agent libraries, as they are installed, become values of a function."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.support.client_programs import run_client_program
from tests.support.packages import ROOT, locked_python
from tests.support.script import Done, Finish, Reasoning, Role, Script, Text, ToolCall, Usage
from tests.support.upstream import ScriptedUpstream

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

PROGRAM = Path(__file__).parent / "programs" / "adapted.py"
ARGUMENTS = '{"order": "17"}'
CALL: list[Any] = [
    Role(),
    ToolCall('{"order": ', name="look_up", call_id="call_1"),
    ToolCall('"17"}'),
    Finish("tool_calls"),
    Usage(10, 5),
    Done(),
]
ANSWER: Script = [
    Role(), Text("Order 17 "), Text("is on its way."), Finish(), Usage(20, 6), Done()
]  # fmt: skip


async def values_of(library: str, upstream: ScriptedUpstream) -> list[Any]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command: list[str | Path] = [locked_python("clients"), PROGRAM, library, upstream.base_url]
    return list(json.loads(await run_client_program(command, environment, limit_s=120)))


def texts(values: list[Any], kind: str = "Text") -> str:
    return "".join(value["text"] for name, value in values if name == kind)


def tokens(values: list[Any]) -> tuple[int, int]:
    used = [value for name, value in values if name == "Usage"]
    return sum(u["prompt_tokens"] for u in used), sum(u["completion_tokens"] for u in used)


@pytest.mark.parametrize("library", ["pydantic_ai", "langgraph", "openai_agents"])
async def test_an_agents_tools_texts_and_tokens_become_values_that_end_with_stop(
    library: str, upstream: ScriptedUpstream
) -> None:
    upstream.enqueue(CALL, ANSWER)
    values = await values_of(library, upstream)
    calls = [value for name, value in values if name == "ToolCall"]
    assert [(call["name"], json.loads(call["arguments"]), call["id"]) for call in calls] == [
        ("look_up", {"order": "17"}, "call_1")
    ]
    result = {"result": "17 is on its way", "id": "call_1", "is_error": False}
    assert [value for name, value in values if name == "ToolResult"] == [result]
    assert texts(values) == "Order 17 is on its way."
    assert tokens(values) == (30, 11)
    assert values[-1] == ["Finish", {"reason": "stop"}]
    names = [name for name, _ in values]
    assert names.index("ToolCall") < names.index("ToolResult") < names.index("Text")
    if library == "langgraph":  # the others run their tools while they stream
        assert names.index("ToolCall") < names.index("the tool ran")


async def test_chunks_of_openai_leave_the_calls_to_the_client(upstream: ScriptedUpstream) -> None:
    upstream.enqueue([Role(), Reasoning("hm "), Text("I look. "), *CALL[1:]])
    values = await values_of("openai_chunks", upstream)
    assert (texts(values, "Reasoning"), texts(values)) == ("hm ", "I look. ")
    assert ["ToolCall", {"name": "look_up", "arguments": ARGUMENTS, "id": "call_1"}] in values
    assert tokens(values) == (10, 5)
    assert values[-1] == ["Finish", {"reason": "tool_calls"}]
