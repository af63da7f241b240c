"""The messages that the upstream gets of a conversation, for each way in which a turn can end."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.support.rig import TENANT, Rig, open_rig, working
from tests.support.script import (
    Cut,
    Finish,
    Reasoning,
    Refusal,
    Role,
    Script,
    Text,
    ToolCall,
    Wait,
    answer,
)
from tests.support.strict_rules import FAMILIES
from tests.support.strict_upstream import StrictUpstream
from tests.support.upstream import ScriptedUpstream
from tests.support.wait import wait_until
from tickertape.broker.fold import Answer
from tickertape.runtime.settings import Settings

# What a worker asks otherwise from then on: see worker/upstream/request_adapter.py.
_REASONING = "reasoning goes back with the calls that it led to"
LEARNED = {
    "mistral": ["Mistral has no stream_options"],
    # In every answer after the first tool calls; some answers have none.
    "deepseek": [_REASONING],
    "kimi": [_REASONING],
}


@pytest.fixture
async def rig(redis_url: str, upstream: ScriptedUpstream) -> AsyncIterator[Rig]:
    settings = Settings(openai_base_url=upstream.base_url, openai_model="m", lease_s=1)
    async with open_rig(redis_url, settings) as running, working(redis_url, settings):
        yield running


def prompt_of(upstream: ScriptedUpstream) -> list[tuple[str, Any]]:
    """The messages of the last call."""
    return [(m["role"], m["content"]) for m in upstream.calls[-1].body["messages"]]


async def test_after_a_stop_the_next_turn_sees_the_question_and_the_kept_text(
    rig: Rig, upstream: ScriptedUpstream
) -> None:
    # vscode#289186
    upstream.enqueue([Role(), Text("Cows are"), Wait(asyncio.Event())])
    request_id = await rig.ask("Tell me of cows", conversation_id="c")
    await rig.shows(request_id, "Cows are")
    await rig.requests.cancel(request_id, TENANT)
    await rig.ended(await rig.ask("What did I ask?", conversation_id="c"))
    assert prompt_of(upstream) == [
        ("user", "Tell me of cows"),
        ("assistant", "Cows are\n\n[stopped]"),
        ("user", "What did I ask?"),
    ]


@pytest.mark.parametrize(
    "script",
    [
        answer([]),
        [Role(), Finish("content_filter")],
        [Role(), Reasoning("Hm, let me"), Finish("length")],
    ],
    ids=["empty", "filtered", "cut while thinking"],
)
async def test_a_turn_without_words_is_left_out_and_later_turns_go_on(
    rig: Rig, upstream: ScriptedUpstream, script: Script
) -> None:
    # LLMKube#935: strict upstreams refuse an assistant message without content.
    upstream.enqueue(answer("one"), script)
    for text in ("first", "second", "third"):
        await rig.ended(await rig.ask(text, conversation_id="c"))
    assert prompt_of(upstream) == [("user", "first"), ("assistant", "one"), ("user", "third")]


async def test_a_refusal_is_remembered_as_its_text(rig: Rig, upstream: ScriptedUpstream) -> None:
    upstream.enqueue([Role(), Refusal("I can"), Refusal("not."), Finish()])
    for text in ("first", "second"):
        await rig.ended(await rig.ask(text, conversation_id="c"))
    assert prompt_of(upstream) == [
        ("user", "first"),
        ("assistant", "I cannot."),
        ("user", "second"),
    ]


async def test_an_answer_that_failed_is_remembered_as_far_as_it_was_said(
    rig: Rig, upstream: ScriptedUpstream
) -> None:
    upstream.enqueue([Role(), Text("half"), Cut()])
    await rig.ended(await rig.ask("first", conversation_id="c", on_interruption="fail"))
    await rig.ended(await rig.ask("second", conversation_id="c"))
    assert prompt_of(upstream) == [("user", "first"), ("assistant", "half"), ("user", "second")]


async def test_calls_and_their_outcomes_are_remembered_whole(
    rig: Rig, upstream: ScriptedUpstream
) -> None:
    upstream.enqueue(
        [
            Role(),
            Text("Let me look."),
            ToolCall("{", name="look", call_id="c1"),
            ToolCall("}"),
            Finish("tool_calls"),
        ],
        answer(["Rain."]),
    )
    call = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    outcome = {"role": "tool", "tool_call_id": "c1", "content": "wet"}
    await rig.ended(await rig.ask("first", conversation_id="c"))
    await rig.ended(await rig.ask(messages=[outcome], conversation_id="c"))
    conversation = [
        {"role": "user", "content": "first"},
        {"role": "assistant", "content": "Let me look.", "tool_calls": [call]},
    ]
    assert upstream.calls[-1].body["messages"] == [*conversation, outcome]
    await rig.ended(await rig.ask("third", conversation_id="c"))
    assert upstream.calls[-1].body["messages"] == [
        *conversation,
        outcome,
        {"role": "assistant", "content": "Rain."},
        {"role": "user", "content": "third"},
    ]


@pytest.mark.parametrize("family", FAMILIES)
async def test_no_upstream_refuses_the_messages_of_a_conversation(
    redis_url: str, upstream: ScriptedUpstream, family: str
) -> None:
    strict = StrictUpstream(family)
    settings = Settings(openai_base_url=upstream.base_url, openai_model="m")
    function = {"name": "add", "parameters": {"type": "object"}}
    tools = {"tools": [{"type": "function", "function": function}]}
    async with open_rig(redis_url, settings) as rig, working(redis_url, settings):

        async def ask(text: str = "", script: Script | None = None, **fields: Any) -> Answer:
            upstream.script = script or strict.script
            fields |= {"messages": [{"role": "user", "content": text}]} if text else {}
            request_id = await rig.ask(conversation_id="c", params=tools, **fields)
            return await rig.ended(request_id)

        called = await ask("What is 2 + 3?")
        outcomes = [
            {"role": "tool", "tool_call_id": call["id"], "content": output}
            for (_, call), output in zip(sorted(called.tool_calls.items()), "57", strict=True)
        ]
        await ask(messages=outcomes)
        await ask("empty", answer([]))
        await ask("filtered", [Role(), Finish("content_filter")])
        await ask("thinking", [Role(), Reasoning("Hm"), Finish("length")])
        await ask("refused", [Role(), Refusal("No."), Finish()])
        upstream.script = [Role(), Wait(asyncio.Event())]
        stopped = await rig.ask("stopped", conversation_id="c", params=tools)
        await wait_until(
            lambda: upstream.calls[-1].body["messages"][-1]["content"] == "stopped",
            description="the upstream is called",
        )
        await rig.requests.cancel(stopped, TENANT)
        assert (await ask("and now?")).status == "completed"
    messages_sent = [(role, content) for role, content in prompt_of(upstream) if role != "tool"]
    assert messages_sent[-5:] == [
        ("user", "refused"),
        ("assistant", "No."),
        ("user", "stopped"),
        ("assistant", "[stopped]"),
        ("user", "and now?"),
    ]
    assert ("user", "empty") not in messages_sent
    assert strict.refusals == LEARNED.get(family, [])


async def test_a_model_gets_more_than_20_turns(rig: Rig, upstream: ScriptedUpstream) -> None:
    for number in range(31):
        await rig.ended(await rig.ask(f"{number}", conversation_id="c"))
    assert len(upstream.calls[-1].body["messages"]) == 61


async def test_a_setting_bounds_the_bytes_of_a_conversation_that_a_model_gets(
    redis_url: str, upstream: ScriptedUpstream
) -> None:
    settings = Settings(openai_base_url=upstream.base_url, openai_model="m", memory_bytes=120)
    async with open_rig(redis_url, settings) as rig, working(redis_url, settings):
        for number in range(5):
            await rig.ended(await rig.ask(f"{number}", conversation_id="c"))
    assert [content for _, content in prompt_of(upstream)] == ["3", "Hello, world.", "4"]
