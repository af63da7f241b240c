"""The scripted upstream plays its scripts on the wire, as the official SDK reads them."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any

import httpx2
import openai
import pytest

from tests.support.prompted import Plan, PlanFollower
from tests.support.script import (
    Chunk,
    Comment,
    Cut,
    Done,
    Error,
    Finish,
    Headers,
    LineEnding,
    Reasoning,
    Refusal,
    Reset,
    Role,
    Split,
    Status,
    Step,
    Text,
    ToolCall,
    Wait,
    answer,
    bytes_of,
    rate_limited,
)
from tests.support.servers import prompted_upstream
from tests.support.upstream import ScriptedUpstream
from tests.support.wait import wait_until


@pytest.fixture
async def client(upstream: ScriptedUpstream) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(
        base_url=upstream.base_url, api_key="secret-key", max_retries=0
    ) as client:
        yield client


async def chunks_of(client: openai.AsyncOpenAI, message: str = "hi") -> list[Any]:
    stream = await client.chat.completions.create(
        model="m", messages=[{"role": "user", "content": message}], stream=True
    )
    async with stream:
        return [chunk async for chunk in stream]


def text_of(chunks: Iterable[Any]) -> str:
    return "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices or [])


async def test_an_answer_arrives_whole_with_finish_and_usage(
    upstream: ScriptedUpstream, client: openai.AsyncOpenAI
) -> None:
    upstream.script = answer(["Hel", "lo ", "世界"], usage=(3, 4))
    chunks = await chunks_of(client)
    assert text_of(chunks) == "Hello 世界"
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
    assert chunks[-1].usage.total_tokens == 7
    call = upstream.calls[0]
    assert (call.outcome, call.deltas_sent, call.model) == ("answered", 3, "m")


async def test_every_kind_of_output_has_its_shape(
    upstream: ScriptedUpstream, client: openai.AsyncOpenAI
) -> None:
    upstream.script = [
        Role(content=None),
        Comment(),
        Reasoning("why", key="reasoning"),
        Refusal("no"),
        ToolCall("", name="look", call_id="c1"),
        ToolCall('{"a":1}'),
        Chunk({"choices": []}),
        Finish("tool_calls"),
        Done(),
    ]
    chunks = await chunks_of(client)
    deltas = [c.choices[0].delta for c in chunks if c.choices]
    assert deltas[0].content is None
    assert deltas[1].model_extra == {"reasoning": "why"}
    assert deltas[2].refusal == "no"
    assert deltas[3].tool_calls[0].function.name == "look"
    assert deltas[4].tool_calls[0].function.arguments == '{"a":1}'
    assert [c.choices for c in chunks].count([]) == 1


@pytest.mark.parametrize("eol", ["\n", "\r\n", "\r"])
async def test_bytes_may_be_cut_anywhere_under_any_line_ending(
    upstream: ScriptedUpstream, client: openai.AsyncOpenAI, eol: str
) -> None:
    step = Text("wörld 🌍")
    every_offset = range(1, len(bytes_of(step, model="m", eol=eol)))
    upstream.script = [LineEnding(eol), Split(step, every_offset), Finish(), Done()]
    assert text_of(await chunks_of(client)) == "wörld 🌍"


async def test_the_journal_keeps_the_request_but_never_the_key(
    upstream: ScriptedUpstream, client: openai.AsyncOpenAI
) -> None:
    await chunks_of(client, "a question")
    async with httpx2.AsyncClient() as http:
        journal = (await http.get(upstream.base_url.replace("/v1", "/journal"))).text
    assert "a question" in journal
    assert "secret-key" not in journal
    assert upstream.calls[0].has_authorization


async def test_a_wrong_key_is_refused(client: openai.AsyncOpenAI) -> None:
    async with ScriptedUpstream(api_key="right") as guarded:
        with pytest.raises(openai.AuthenticationError):
            await chunks_of(client.with_options(base_url=guarded.base_url))
        good = client.with_options(base_url=guarded.base_url, api_key="right")
        assert text_of(await chunks_of(good)) == "Hello, world."


async def test_the_upstream_notices_at_once_when_its_client_leaves(
    upstream: ScriptedUpstream, client: openai.AsyncOpenAI
) -> None:
    upstream.script = [Text("one"), Wait(asyncio.Event()), Text("never")]
    stream = await client.chat.completions.create(
        model="m", messages=[{"role": "user", "content": "hi"}], stream=True
    )
    async with stream:
        await anext(aiter(stream))
    call = upstream.calls[0]
    async with asyncio.timeout(5):
        await call.closed.wait()
    assert call.outcome == "closed"
    assert call.closed_at_s is not None
    assert call.closed_at_s >= call.started_at_s
    assert call.deltas_sent == 1


async def test_a_gate_holds_the_answer_until_it_is_opened(
    upstream: ScriptedUpstream, client: openai.AsyncOpenAI
) -> None:
    gate = asyncio.Event()
    upstream.script = [Headers({"x-extra": "1"}), Wait(gate), *answer("late")]
    reading = asyncio.create_task(chunks_of(client))
    await wait_until(lambda: upstream.calls, description="the call arrives")
    assert not reading.done()
    gate.set()
    assert text_of(await reading) == "late"


@pytest.mark.parametrize("ending", [Cut(), Reset()])
async def test_a_cut_and_a_reset_break_the_body(
    upstream: ScriptedUpstream, client: openai.AsyncOpenAI, ending: Step
) -> None:
    upstream.script = [Text("half"), ending]
    with pytest.raises(openai.APIConnectionError):
        await chunks_of(client)
    assert upstream.calls[0].outcome == type(ending).__name__.lower()


async def test_a_script_without_a_finish_ends_in_order_and_its_connection_is_reused(
    upstream: ScriptedUpstream, client: openai.AsyncOpenAI
) -> None:
    upstream.enqueue([Text("no end")], answer("second"))
    assert [text_of(await chunks_of(client)) for _ in range(2)] == ["no end", "second"]


async def test_refusals_and_html_pages_are_sent_as_scripted(
    upstream: ScriptedUpstream, client: openai.AsyncOpenAI
) -> None:
    upstream.enqueue(rate_limited("7"), [Status(200, body="<html>")], [Error("inside"), Done()])
    with pytest.raises(openai.RateLimitError) as limited:
        await chunks_of(client)
    assert limited.value.response.headers["retry-after"] == "7"
    assert await chunks_of(client) == []
    with pytest.raises(openai.APIError, match="inside"):
        await chunks_of(client)


async def test_a_mistake_in_a_script_fails_the_test_that_made_it(
    client: openai.AsyncOpenAI,
) -> None:
    upstream = await ScriptedUpstream().__aenter__()
    upstream.script = [Text("a"), Status(500)]
    with pytest.raises(openai.APIConnectionError):
        await chunks_of(client.with_options(base_url=upstream.base_url))
    with pytest.raises(AssertionError, match="first step"):
        await upstream.__aexit__()


async def test_an_upstream_process_answers_as_the_prompt_plans(client: openai.AsyncOpenAI) -> None:
    with prompted_upstream("--deltas", "3") as url:
        prompted = client.with_options(base_url=url)
        plan = Plan(deltas=5, tag="x", cut_after=2)
        with pytest.raises(openai.APIConnectionError):
            await chunks_of(prompted, plan.prompt())
        assert text_of(await chunks_of(prompted, plan.prompt())) == plan.text()
        assert text_of(await chunks_of(prompted, "no plan")) == Plan(deltas=3).text()
        async with httpx2.AsyncClient() as http:
            journal = (await http.get(url.replace("/v1", "/journal"))).json()
        assert [call["outcome"] for call in journal] == ["cut", "answered", "answered"]


async def test_a_planned_answer_continues_where_its_prefill_ends(
    client: openai.AsyncOpenAI,
) -> None:
    plan = Plan(deltas=4, tag="x")
    begun = plan.text()[:6]
    async with ScriptedUpstream() as upstream:
        upstream.script = PlanFollower(Plan()).script_for
        stream = await client.with_options(base_url=upstream.base_url).chat.completions.create(
            model="m",
            messages=[
                {"role": "user", "content": plan.prompt()},
                {"role": "assistant", "content": begun},
            ],
            stream=True,
        )
        async with stream:
            assert begun + text_of([chunk async for chunk in stream]) == plan.text()


def test_a_lone_surrogate_travels_escaped() -> None:
    assert rb'"content":"\ud83d"' in bytes_of(Text("\ud83d"))
