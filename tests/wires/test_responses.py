"""Responses, as the official SDK reads them."""

import asyncio
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI
from openai.types.responses import Response

from tests.support.rig import Rig
from tests.wires.claiming import claimed
from tests.wires.responding import CALL, USAGE, ask, checked, read
from tickertape.broker.codec import encode_data, encode_text


async def test_an_answer_is_one_object(sdk: AsyncOpenAI, worker: Rig) -> None:
    asking = ask(
        sdk,
        instructions="Be brief.",
        metadata={"k": "v"},
        temperature=0.5,
        max_output_tokens=9,
        text={"format": {"type": "json_schema", "name": "n", "schema": {"type": "object"}}},
        reasoning={"effort": "low"},
        extra_body={"top_k": 3},
    )
    payload = await claimed(worker)
    await worker.append(encode_text("reasoning", "Hm."))
    await worker.type("Hello, ", "世界")
    await worker.finish(usage=USAGE)
    answer: Response = await asking
    assert worker.lease is not None
    assert answer.id == f"resp_{worker.lease.request_id}"
    assert answer._request_id == worker.lease.request_id
    Response.model_validate(answer.to_dict(warnings=False))
    assert answer.status == "completed"
    assert answer.completed_at is not None
    assert answer.output_text == "Hello, 世界"
    assert [item.type for item in answer.output] == ["reasoning", "message"]
    assert answer.model == "m-1"
    assert answer.instructions == "Be brief."
    assert answer.metadata == {"k": "v"}
    assert answer.temperature == 0.5
    assert answer.background is False
    assert answer.usage is not None
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (3, 4)
    assert answer.usage.output_tokens_details.reasoning_tokens == 2
    assert payload["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "hi"},
    ]
    assert payload["params"] == {
        "model": "m-1",
        "temperature": 0.5,
        "max_tokens": 9,
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "n", "schema": {"type": "object"}},
        },
        "reasoning_effort": "low",
        "top_k": 3,
    }
    assert payload["on_interruption"] == "restart"


async def test_a_streams_events_are_those_of_the_protocol(sdk: AsyncOpenAI, worker: Rig) -> None:
    asking = ask(sdk, stream=True)
    payload = await claimed(worker)
    await worker.append(
        encode_text("reasoning", "H"),
        encode_text("reasoning", "m."),
        encode_text("delta", "Hel", {"logprobs": {"content": [token("Hel")]}}),
        encode_text("delta", "lo"),
        encode_text("refusal", "No more."),
    )
    await worker.finish()
    events = await read(await asking)
    assert checked(events) == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "reasoning_text.delta",
        "reasoning_text.delta",
        "reasoning_text.done",
        "content_part.done",
        "output_item.done",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "content_part.added",
        "refusal.delta",
        "refusal.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    assert events[11].logprobs[0].token == "Hel"
    final = events[-1].response
    assert final.output_text == "Hello"
    assert final.output[1].content[1].refusal == "No more."
    assert final.output[1].content[0].logprobs[0].token == "Hel"
    assert payload["on_interruption"] == "continue"


def token(text: str) -> dict[str, Any]:
    return {"token": text, "logprob": -0.1, "bytes": list(text.encode()), "top_logprobs": []}


async def test_function_calls_reach_the_client_and_their_outputs_reach_the_upstream(
    sdk: AsyncOpenAI, worker: Rig
) -> None:
    tool: Any = {
        "type": "function",
        "name": "look",
        "parameters": {"type": "object"},
        "strict": True,
    }
    asking = ask(sdk, stream=True, tools=[tool], tool_choice={"type": "function", "name": "look"})
    payload = await claimed(worker)
    pieces = [
        CALL,
        {"index": 0, "arguments": '{"at":'},
        {"index": 1, "id": "call_b"},
        {"index": 0, "arguments": '"x"}'},
        {"index": 1, "name": "look", "arguments": "{}"},
    ]
    await worker.type("Let me look.")
    await worker.append(*[encode_data("tool_call", piece) for piece in pieces])
    await worker.end("completed", {"finish_reason": "tool_calls"})
    events = await read(await asking)
    assert checked(events)[-13:] == [
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "output_item.added",
        "function_call_arguments.delta",
        "function_call_arguments.delta",
        "output_item.added",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "output_item.done",
        "function_call_arguments.done",
        "output_item.done",
        "completed",
    ]
    calls = [item for item in events[-1].response.output if item.type == "function_call"]
    assert [(call.call_id, call.name, call.arguments) for call in calls] == [
        ("call_a", "look", '{"at":"x"}'),
        ("call_b", "look", "{}"),
    ]
    function = {"name": "look", "parameters": {"type": "object"}, "strict": True}
    assert payload["params"]["tools"] == [{"type": "function", "function": function}]
    assert payload["params"]["tool_choice"] == {"type": "function", "function": {"name": "look"}}

    outputs = [
        {"type": "function_call_output", "call_id": "call_a", "output": "3"},
        {"type": "function_call_output", "call_id": "call_b", "output": "4"},
    ]
    following = ask(sdk, outputs, previous_response_id=events[-1].response.id)
    payload = await claimed(worker)
    await worker.finish()
    await following
    assert payload["messages"] == [
        {"role": "user", "content": "hi"},
        {
            "role": "assistant",
            "content": "Let me look.",
            "tool_calls": [
                {
                    "id": "call_a",
                    "type": "function",
                    "function": {"name": "look", "arguments": '{"at":"x"}'},
                },
                {
                    "id": "call_b",
                    "type": "function",
                    "function": {"name": "look", "arguments": "{}"},
                },
            ],
        },
        {"role": "tool", "tool_call_id": "call_a", "content": "3"},
        {"role": "tool", "tool_call_id": "call_b", "content": "4"},
    ]


async def test_the_sdks_accumulation_makes_the_same_response(sdk: AsyncOpenAI, worker: Rig) -> None:
    async def accumulate() -> Any:
        async with sdk.responses.stream(model="m", input="hi") as stream:
            return await stream.get_final_response()

    asking = asyncio.create_task(accumulate())
    await claimed(worker)
    await worker.append(encode_text("reasoning", "Hm."), encode_text("delta", "Hello"))
    await worker.append(encode_data("tool_call", {**CALL, "arguments": "{}"}))
    await worker.finish()
    final = await asking
    assert final.output_text == "Hello"
    assert final.output[2].arguments == "{}"


@pytest.mark.parametrize(
    ("reason", "detail"), [("length", "max_output_tokens"), ("content_filter", "content_filter")]
)
async def test_an_answer_that_was_cut_short_by_a_limit_is_incomplete(
    sdk: AsyncOpenAI, worker: Rig, reason: str, detail: str
) -> None:
    plain, streaming = ask(sdk), ask(sdk, stream=True)
    for _ in range(2):
        await claimed(worker)
        await worker.type("half")
        await worker.end("completed", {"finish_reason": reason})
    answer = await plain
    events = await read(await streaming)
    assert checked(events)[-1] == "incomplete"
    for response in (answer, events[-1].response):
        assert response.status == "incomplete"
        assert response.incomplete_details.reason == detail
        assert response.output[0].status == "incomplete"


async def test_openais_sdk_reads_a_finish_reason_that_openai_does_not_define(
    sdk: AsyncOpenAI, worker: Rig
) -> None:
    plain, streaming = ask(sdk), ask(sdk, stream=True)
    for _ in range(2):
        await claimed(worker)
        await worker.type("half")
        await worker.end("completed", {"finish_reason": "a new word"})
    for response in (await plain, (await read(await streaming))[-1].response):
        assert response.status == "incomplete"
        assert response.incomplete_details.reason == "a new word"
        assert response.output_text == "half"


async def test_a_failure_in_the_middle_is_reported_with_the_output_so_far(
    sdk: AsyncOpenAI, worker: Rig
) -> None:
    asking = ask(sdk, stream=True)
    await claimed(worker)
    await worker.type("half")
    await worker.append(encode_data("tool_call", CALL))
    stream = await asking
    await worker.fail("upstream_rate_limited", "Too many.")
    events = await read(stream)
    assert checked(events)[-1] == "failed"
    failed = events[-1].response
    assert failed.error.code == "rate_limit_exceeded"
    assert failed.error.message == "Too many."
    assert failed.output_text == "half"
    assert [item.status for item in failed.output] == ["completed", "incomplete"]
    polled = await sdk.responses.retrieve(failed.id)
    assert polled.status == "failed"


@pytest.mark.parametrize("stream", [False, True])
async def test_a_failure_before_any_output_is_an_http_error(
    sdk: AsyncOpenAI, worker: Rig, *, stream: bool
) -> None:
    asking = ask(sdk, stream=stream)
    await claimed(worker)
    await worker.fail("upstream_rejected", "No such model.")
    with pytest.raises(openai.BadRequestError, match="No such model") as failure:
        await asking
    assert failure.value.response.headers["x-should-retry"] == "false"
