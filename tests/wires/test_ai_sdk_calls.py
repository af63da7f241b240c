"""The tool calls in a page's history, as a model gets them."""

from typing import Any

import pytest

from tests.support.rig import Rig, working
from tests.support.running_api import RunningApi
from tests.support.upstream import ScriptedUpstream
from tests.wires.claiming import claimed
from tests.wires.pages import HI, chunks, send
from tests.wires.relaying import TWO_CALLS
from tickertape.runtime.settings import Settings


async def test_reasoning_is_sent_back_beside_its_tool_calls(api: RunningApi, worker: Rig) -> None:
    outcome = {"state": "output-available", "input": {"at": 1}, "output": "x"}
    steps = [
        {"type": "step-start"},
        {"type": "reasoning", "text": "Hm. ", "state": "done"},
        {"type": "reasoning", "text": "Two.", "state": "done"},
        {"type": "tool-look", "toolCallId": "t-1", **outcome},
        {"type": "step-start"},
        {"type": "reasoning", "text": "So.", "state": "done"},
        {"type": "text", "text": "It is x."},
    ]
    idle = [{"type": "reasoning", "text": "Bye."}, {"type": "text", "text": "Bye."}]
    answers = [{"id": "a", "role": "assistant", "parts": parts} for parts in (steps, idle)]
    sending = send(api, "chat-1", HI, answers[0], HI, answers[1], HI)
    payload = await claimed(worker)
    await worker.finish()
    await sending
    call = {"id": "t-1", "type": "function"}
    hi = {"role": "user", "content": "hi"}
    assert payload["messages"] == [
        hi,
        {
            "role": "assistant",
            "content": None,
            "reasoning_content": "Hm. Two.",
            "tool_calls": [{**call, "function": {"name": "look", "arguments": '{"at":1}'}}],
        },
        {"role": "tool", "tool_call_id": "t-1", "content": "x"},
        {"role": "assistant", "content": "It is x.", "reasoning_content": "So."},
        hi,
        {"role": "assistant", "content": "Bye."},
        hi,
    ]


DENIED = "The user did not allow this call."


@pytest.mark.parametrize(
    ("part", "outcome"),
    [
        ({"state": "approval-responded", "approval": {"id": "p", "approved": False}}, DENIED),
        (
            {
                "state": "approval-responded",
                "approval": {"id": "p", "approved": False, "reason": "Too dear."},
            },
            f"{DENIED} Reason: Too dear.",
        ),
        (
            {"state": "output-denied", "approval": {"id": "p", "reason": "Too dear."}},
            f"{DENIED} Reason: Too dear.",
        ),
        ({"state": "output-denied"}, DENIED),
        ({"state": "output-denied", "approval": {"approved": False, "reason": 3}}, DENIED),
        ({"state": "approval-responded", "approval": {"id": "p", "approved": True}}, None),
        ({"state": "approval-responded", "approval": "no"}, None),
        ({"state": "approval-requested", "approval": {"id": "p"}}, None),
    ],
)
async def test_a_tool_call_that_the_user_denied_has_the_denial_as_its_outcome(
    api: RunningApi, worker: Rig, part: dict[str, Any], outcome: str | None
) -> None:
    call = {"type": "tool-pay", "toolCallId": "t-1", "input": {}, **part}
    sending = send(api, "chat-1", HI, {"id": "a", "role": "assistant", "parts": [call]}, HI)
    payload = await claimed(worker)
    await worker.finish()
    await sending
    outcomes = [message["content"] for message in payload["messages"] if message["role"] == "tool"]
    assert outcomes == ([] if outcome is None else [outcome])
    assert len(payload["messages"]) == (2 if outcome is None else 4)


async def test_two_tool_calls_of_a_page_return_to_the_upstream_complete(
    api: RunningApi, redis_url: str, upstream: ScriptedUpstream
) -> None:
    upstream.enqueue(TWO_CALLS)
    tool = {"type": "function", "function": {"name": "look", "parameters": {}}}
    settings = Settings(openai_base_url=upstream.base_url, openai_model="m")
    async with working(redis_url, settings):
        read = chunks(await send(api, "c", HI, tools=[tool]))
        made = [chunk for chunk in read if chunk["type"] == "tool-input-available"]
        called = [
            {
                "type": f"tool-{chunk['toolName']}",
                "toolCallId": chunk["toolCallId"],
                "state": "output-available",
                "input": chunk["input"],
                "output": {"seen": number},
            }
            for number, chunk in enumerate(made)
        ]
        thought = {"type": "reasoning", "text": "Hm. Two."}
        parts = [{"type": "step-start"}, thought, *called, {"type": "text", "text": "Let me look."}]
        answer = {"id": read[0]["messageId"], "role": "assistant", "parts": parts}
        await send(api, "c", HI, answer, tools=[tool])
    function = {"name": "look", "arguments": '{"at":1}'}
    fields = {"stream": True, "stream_options": {"include_usage": True}}
    assert upstream.calls[-1].body == fields | {
        "model": "m",
        "messages": [
            {"role": "user", "content": "hi"},
            {
                "role": "assistant",
                "content": "Let me look.",
                "reasoning_content": "Hm. Two.",
                "tool_calls": [
                    {"id": call_id, "type": "function", "function": function}
                    for call_id in ("c1", "c2")
                ],
            },
            {"role": "tool", "tool_call_id": "c1", "content": '{"seen":0}'},
            {"role": "tool", "tool_call_id": "c2", "content": '{"seen":1}'},
        ],
        "tools": [tool],
    }
