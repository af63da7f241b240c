"""The real `ai` package, in the three major versions in use, against the real API and worker."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.node import NodeProgram, installed
from tests.support.rig import working
from tests.support.running_api import running_api
from tests.support.script import (
    Chunk,
    Done,
    Error,
    Finish,
    Reasoning,
    Script,
    Status,
    Text,
    ToolCall,
    Wait,
    answer,
    error_body,
)
from tests.support.upstream import Call, ScriptedUpstream
from tests.support.wait import wait_until
from tickertape.runtime.settings import Settings

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

SCRIPT = Path(__file__).parent / "ai_sdk.mjs"


# Provider fields of a tool call, of reasoning, and of a delta.
SIGNATURE = {"extra_content": {"google": {"thought_signature": "s1g=="}}}
THOUGHT = {"reasoning_details": [{"type": "reasoning.text", "index": 0, "text": "Hm."}]}
SHOWN = {
    "images": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}],
    "annotations": [{"type": "url_citation", "url_citation": {"url": "https://example.org/"}}],
}


def fields(**delta: Any) -> Chunk:
    """A chunk with fields that no step of a script has."""
    return Chunk({"choices": [{"index": 0, "delta": delta}]})


# The prompts for a page that sends only new messages: regenerated, edited, continued.
_EDITED = ["r1", "a1", "r2, edited"]
_SEEN = [*_EDITED, "a4", "tool", None, '{"seen":3}']
REMEMBERED = [
    ["r1"],
    ["r1", "a1", "r2"],
    ["r1", "a1", "r2"],
    _EDITED,
    _SEEN[:5],
    _SEEN,
    [*_SEEN, "I saw 3.", "r4"],
    ["r1"],
]


class Scenes:
    """The upstream's answer to each message of the page's script."""

    def __init__(self) -> None:
        self.gates = {name: asyncio.Event() for name in ("send", "leave", "stop")}
        self.prompts: dict[str, list[dict[str, Any]]] = {}
        self.remembered: list[list[str | None]] = []

    def script(self, call: Call) -> Script:
        messages = call.body["messages"]
        if messages[0]["content"] == "r1":
            self.remembered.append([message["content"] for message in messages])
            if messages[-1]["role"] == "user" and messages[-1]["content"] != "tool":
                return answer(f"a{len(self.remembered)}")
        if messages[-1]["role"] == "tool":
            self.prompts.setdefault("tool-output", messages)
            return answer("I saw 3.")
        name = [m["content"] for m in messages if m["role"] == "user"][-1]
        if name == "edit":
            self.prompts["edit"] = messages
            return answer("Edited")
        if name == "send" and self.gates["send"].is_set():
            return answer("Hi again")
        return self._first(name)

    def _first(self, name: str) -> Script:
        gate = self.gates.get(name, asyncio.Event())
        scripts: dict[str, Script] = {
            "send": [Text("Hel"), Wait(gate), Text("lo"), Finish(), Done()],
            "leave": [Text("Hel"), Wait(gate), Text("lo"), Finish(), Done()],
            "stop": [Text("half"), Wait(gate)],
            "fail": [Text("half"), Error()],
            "reject": [Status(400, {}, error_body("No such model", "bad"))],
            "tool": [
                Reasoning("Hm."),
                fields(**THOUGHT, **SHOWN),
                ToolCall(name="look", call_id="t-1"),
                fields(tool_calls=[{"index": 0, **SIGNATURE}]),
                ToolCall('{"at":"x"}'),
                Finish("tool_calls"),
                Done(),
            ],
        }
        return scripts[name]


@pytest.mark.parametrize("packages", ["ai5", "ai6", "ai7"])
async def test_the_ai_packages_chat_sends_resumes_stops_and_fails(
    packages: str, tmp_path: Path, redis_url: str, upstream: ScriptedUpstream
) -> None:
    folder = installed(tmp_path, packages)
    scenes = Scenes()
    upstream.script = scenes.script
    settings = Settings(openai_base_url=upstream.base_url, openai_model="m")
    shown: dict[str, Any] = {}
    async with (
        running_api(redis_url) as api,
        working(redis_url, settings),
        NodeProgram(folder, SCRIPT, {"TICKERTAPE_URL": api.url}) as program,
    ):
        async for line in program.lines():
            name, _, rest = line.partition(" ")
            if name == "at":
                scenes.gates[rest].set()
            else:
                shown[name] = json.loads(rest)
        stopped = next(c for c in upstream.calls if c.body["messages"][-1]["content"] == "stop")
        await wait_until(stopped.closed.is_set, description="the upstream of a stop is closed")

    first, second = shown["send"]
    assert first == second
    assert first["status"] == "ready"
    assert [m["text"] for m in first["messages"]] == ["send", "Hello"]
    assert [m["text"] for m in shown["regenerate"][0]["messages"]] == ["send", "Hi again"]
    assert shown["regenerate"][0]["messages"][1]["id"] != first["messages"][1]["id"]
    (edit,) = shown["edit"]
    assert [m["text"] for m in edit["messages"]] == ["edit", "Edited"]
    assert scenes.prompts["edit"] == [{"role": "user", "content": "edit"}]
    idle, unchanged = shown["idle"]
    assert (idle["status"], idle["messages"], idle["error"]) == ("ready", [], None)
    assert unchanged == second
    assert shown["stop-answer"] == {"success": True}
    (stop,) = shown["stop"]
    assert (stop["status"], stop["messages"][1]["text"]) == ("ready", "half")
    assert shown["leave"][0]["messages"][1]["text"] == "Hello"
    (fail,) = shown["fail"]
    assert (fail["status"], fail["messages"][1]["text"]) == ("error", "half")
    assert fail["error"]
    (reject,) = shown["reject"]
    assert reject["status"] == "error"
    assert "No such model" in reject["error"]
    (tool,) = shown["tool"]
    assert tool["messages"][1]["parts"] == [
        *("step-start", "reasoning", "file", "source-url", "tool-look")
    ]
    (output,) = shown["tool-output"]
    assert [m["role"] for m in output["messages"]] == ["user", "assistant"]
    assert output["messages"][1]["id"] == tool["messages"][1]["id"]
    assert output["messages"][1]["text"] == "I saw 3."
    _, called, outcome = scenes.prompts["tool-output"]
    assert called["tool_calls"][0]["extra_content"] == SIGNATURE["extra_content"]
    assert called["reasoning_details"] == THOUGHT["reasoning_details"]
    assert "images" not in called
    assert outcome["role"] == "tool"
    assert scenes.remembered == REMEMBERED
    assert [m["text"] for m in shown["remembered"][0]["messages"]] == ["r1", "a8"]
