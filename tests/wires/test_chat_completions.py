"""Chat Completions, as the official SDK reads them."""

import asyncio
import json
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI
from openai.types.chat import ChatCompletion

from tests.support.rig import Rig
from tests.support.running_api import RunningApi, running_api
from tests.wires.chats import HI, URL, USAGE, ask, read, text_of
from tests.wires.claiming import claimed
from tickertape.broker.codec import encode_data, encode_text


async def test_an_answer_is_one_object(sdk: AsyncOpenAI, worker: Rig) -> None:
    asking = ask(sdk, temperature=0.5, seed=7)
    payload = await claimed(worker)
    await worker.append(encode_text("reasoning", "Hm."))
    await worker.type("Hello, ", "世界")
    await worker.finish(usage=USAGE)
    answer: ChatCompletion = await asking
    assert worker.lease is not None
    assert answer.id == f"chatcmpl-{worker.lease.request_id}"
    assert answer._request_id == worker.lease.request_id
    assert answer.object == "chat.completion"
    assert answer.model == "m-1"
    choice = answer.choices[0]
    assert choice.finish_reason == "stop"
    assert choice.message.content == "Hello, 世界"
    assert choice.message.role == "assistant"
    assert (choice.message.model_extra or {})["reasoning_content"] == "Hm."
    assert answer.usage is not None
    assert answer.usage.model_dump(exclude_unset=True) == USAGE
    assert payload["messages"] == [HI]
    assert payload["params"] == {"model": "m-1", "temperature": 0.5, "seed": 7}
    assert payload["on_interruption"] == "restart"


async def test_the_output_of_a_discarded_attempt_is_not_in_the_object(
    sdk: AsyncOpenAI, worker: Rig
) -> None:
    asking = ask(sdk)
    await claimed(worker)
    await worker.append(encode_text("delta", "wrong", {"logprobs": {"content": [{"token": "w"}]}}))
    await worker.reopen()
    await worker.append(encode_text("delta", "right", {"logprobs": {"content": [{"token": "r"}]}}))
    await worker.finish()
    answer = await asking
    assert answer.choices[0].message.content == "right"
    assert [token.token for token in answer.choices[0].logprobs.content] == ["r"]


async def test_an_answer_arrives_while_it_is_written(sdk: AsyncOpenAI, worker: Rig) -> None:
    asking = ask(sdk, stream=True)
    payload = await claimed(worker)
    await worker.type("Hel")
    stream = await asking
    chunks = [await anext(stream), await anext(stream)]
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[1].choices[0].delta.content == "Hel"
    await worker.type("lo")
    await worker.finish(usage=USAGE)
    chunks += await read(stream)
    assert text_of(chunks) == "Hello"
    assert [chunk.choices[0].finish_reason for chunk in chunks] == [None, None, None, "stop"]
    assert len({(chunk.id, chunk.created, chunk.model) for chunk in chunks}) == 1
    assert stream.response.headers["x-request-id"] == chunks[0].id.removeprefix("chatcmpl-")
    assert payload["on_interruption"] == "continue"
    assert "stream" not in payload["params"]


async def test_usage_comes_last_and_only_on_request(sdk: AsyncOpenAI, worker: Rig) -> None:
    asking = ask(sdk, stream=True, stream_options={"include_usage": True})
    payload = await claimed(worker)
    await worker.type("a")
    await worker.finish(usage=USAGE)
    *chunks, last = await read(await asking)
    assert all(chunk.choices and chunk.usage is None for chunk in chunks)
    assert last.choices == []
    assert last.usage is not None
    assert last.usage.total_tokens == 5
    assert "stream_options" not in payload["params"]


async def test_tools_reach_the_upstream_and_tool_calls_reach_the_client(
    sdk: AsyncOpenAI, worker: Rig
) -> None:
    tool: Any = {
        "type": "function",
        "function": {"name": "look", "parameters": {"properties": {"at": {"default": None}}}},
    }
    fields: Any = {"tools": [tool], "tool_choice": "required", "parallel_tool_calls": True}
    pieces = [
        {"index": 0, "id": "call_a", "name": "look", "arguments": ""},
        {"index": 0, "arguments": '{"at":'},
        {"index": 1, "name": "look", "arguments": "{}"},
        {"index": 0, "arguments": ' "x"}'},
    ]
    asking, streaming = ask(sdk, **fields), ask(sdk, stream=True, **fields)
    answers: list[Any] = []
    for _ in range(2):
        payload = await claimed(worker)
        assert payload["params"] == {"model": "m-1", **fields}
        await worker.append(*[encode_data("tool_call", piece) for piece in pieces])
        await worker.end("completed", {"finish_reason": "tool_calls"})
    answer = await asking
    message = answer.choices[0].message
    assert message.content is None
    assert [(call.function.name, call.function.arguments) for call in message.tool_calls] == [
        ("look", '{"at": "x"}'),
        ("look", "{}"),
    ]
    assert message.tool_calls[0].id == "call_a"
    assert message.tool_calls[1].id.startswith("call_")
    stream = await streaming
    async for chunk in stream:
        answers += chunk.choices[0].delta.tool_calls or []
    assert [(piece.index, piece.id is not None, piece.type) for piece in answers] == [
        (0, True, "function"),
        (0, False, None),
        (1, True, "function"),
        (0, False, None),
    ]
    assert "".join(a.function.arguments for a in answers if a.index == 0) == '{"at": "x"}'


async def test_the_sdks_accumulation_makes_the_same_message(sdk: AsyncOpenAI, worker: Rig) -> None:
    async def accumulate() -> Any:
        messages: Any = [HI]
        async with sdk.chat.completions.stream(model="m", messages=messages) as stream:
            return await stream.get_final_completion()

    asking = asyncio.create_task(accumulate())
    await claimed(worker)
    await worker.append(
        encode_text("refusal", "I "),
        encode_text("refusal", "won't."),
        encode_data("tool_call", {"index": 0, "id": "c", "name": "f", "arguments": "{}"}),
    )
    await worker.finish()
    message = (await asking).choices[0].message
    assert message.refusal == "I won't."
    assert message.tool_calls[0].function.name == "f"


async def test_a_quiet_stream_has_comments_that_the_sdk_ignores(
    redis_url: str, worker: Rig
) -> None:
    async with running_api(redis_url, heartbeat_s=0.1) as api:
        body = {"messages": [HI], "stream": True}
        got = b""
        sending = asyncio.create_task(
            api.client.send(api.client.build_request("POST", URL, json=body), stream=True)
        )
        await claimed(worker)
        await worker.type("a")
        answer = await sending
        async for piece in answer.aiter_raw():
            got += piece
            if got.count(b": hb\n\n") == 1:
                await worker.finish()
        assert b": hb\n\n" in got
        assert got.endswith(b"data: [DONE]\n\n")
        for line in got.split(b"\n"):
            assert line == b"" or line.startswith((b"data: ", b": "))


async def test_a_repeated_call_with_its_key_is_the_same_request(
    sdk: AsyncOpenAI, worker: Rig
) -> None:
    headers = {"Idempotency-Key": "k-2"}
    asking = ask(sdk, extra_headers=headers)
    await claimed(worker)
    await worker.type("once")
    await worker.finish()
    first, second = await asking, await ask(sdk, extra_headers=headers)
    assert first == second
    with pytest.raises(openai.BadRequestError) as failure:
        await ask(sdk, temperature=1, extra_headers=headers)
    assert failure.value.code == "idempotency_conflict"


async def test_a_roles_messages_precede_the_callers_however_the_role_is_named(
    sdk: AsyncOpenAI, worker: Rig
) -> None:
    for fields in ({"model": "role:sql"}, {"extra_body": {"role_template": "sql"}}):
        asking = ask(sdk, **fields)
        payload = await claimed(worker)
        await worker.finish()
        await asking
        assert payload["role_messages"]
        assert "role_template" not in payload["params"]
        assert payload["params"].get("model") == (None if "model" in fields else "m-1")
    with pytest.raises(openai.NotFoundError):
        await ask(sdk, model="role:ninja")


async def test_a_chat_completion_can_be_followed_natively(
    api: RunningApi, sdk: AsyncOpenAI, worker: Rig
) -> None:
    asking = ask(sdk)
    await claimed(worker)
    await worker.type("hi")
    await worker.finish()
    answer = await asking
    followed = await api.client.get(f"/chat/{answer._request_id}/stream?format=text")
    assert followed.text == "hi"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": [{"content": "x"}]}, "messages[0].role"),
        ({"messages": [HI], "n": 2}, "n"),
        ({"messages": [HI], "n": 0}, "n"),
        ({"messages": [HI], "max_tokens": "many"}, "max_tokens"),
        ({"messages": [HI], "max_completion_tokens": 1.5}, "max_completion_tokens"),
        ({"messages": [HI], "functions": [{"name": "f"}]}, "functions"),
        ({"messages": [HI], "model": ""}, "model"),
        ({"messages": [{**HI, "content": "a\0"}]}, "messages[0].content"),
    ],
)
async def test_a_wrong_call_is_refused_by_name_and_not_repeated(
    api: RunningApi, body: dict[str, Any], param: str
) -> None:
    answer = await api.client.post(
        URL, content=json.dumps(body), headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert error["param"] == param
    assert error["type"] == "invalid_request_error"


async def test_n_may_only_be_one(sdk: AsyncOpenAI, worker: Rig) -> None:
    asking = ask(sdk, n=1, user=None)
    payload = await claimed(worker)
    await worker.finish()
    assert (await asking).choices[0].message.content == ""
    assert payload["params"] == {"model": "m-1"}
