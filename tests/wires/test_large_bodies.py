"""Bodies as large as real ones: a phone's photo, a long history, a deep schema; and refused ones.

A body that is large in bytes alone is accepted; only a body that would delay the parser has
separate limits.
"""

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.rig import Rig
from tests.support.running_api import RunningApi, running_api
from tests.wires.claiming import claimed
from tickertape.api.edge.problems import Problem
from tickertape.api.protocols.ai_sdk.body import UiBody
from tickertape.api.protocols.gpt_terminal.body import TerminalBody
from tickertape.api.protocols.json_body import parse_json
from tickertape.api.protocols.native.body import ChatBody

PHOTO = "data:image/jpeg;base64," + "A" * 7_000_000
HI = {"role": "user", "content": "hi"}
LOOK = {"type": "text", "text": "hi"}
SHOWN = {"role": "user", "content": [LOOK, {"type": "image_url", "image_url": {"url": PHOTO}}]}
Body = dict[str, Any]
AskMany = Callable[[int], Body]

WITH_PHOTO: dict[str, Body] = {
    "/chat": {"messages": [SHOWN]},
    "/v1/chat/completions": {"messages": [SHOWN]},
    "/v1/responses": {
        "background": True,
        "input": [{"role": "user", "content": [{"type": "input_image", "image_url": PHOTO}]}],
    },
    "/api/chat": {
        "id": "c",
        "messages": [
            {"role": "user", "parts": [{"type": "file", "mediaType": "image/jpeg", "url": PHOTO}]}
        ],
    },
    "/agui": {
        "threadId": "t",
        "runId": "r",
        "messages": [
            {
                "id": "u",
                "role": "user",
                "content": [{"type": "image", "source": {"type": "url", "value": PHOTO}}],
            }
        ],
    },
}
WITH_MANY: dict[str, AskMany] = {
    "/chat": lambda n: {"messages": [HI] * n},
    "/v1/chat/completions": lambda n: {"messages": [HI] * n},
    "/v1/responses": lambda n: {"background": True, "input": [HI] * n},
    "/api/chat": lambda n: {"id": "c", "messages": [{"role": "user", "parts": [LOOK]}] * n},
    "/agui": lambda n: {"threadId": "t", "runId": f"r{n}", "messages": [{"id": "u", **HI}] * n},
    "/api/gpt/get": lambda n: {"message": [HI] * n},
}


def nested(depth: int) -> Any:
    value: Any = "x"
    for _ in range(depth):
        value = {"a": value}
    return value


async def taken(api: RunningApi, worker: Rig, path: str, body: Body) -> Body:
    """The payload that a worker gets for an accepted call."""
    calling = asyncio.create_task(api.client.post(path, json=body))
    payload = await claimed(worker)
    await worker.finish()
    answer = await calling
    assert answer.status_code in {200, 202}, answer.text[:300]
    return payload


async def refused(api: RunningApi, path: str, body: Body) -> tuple[int, str]:
    """The status and the text of a refused call."""
    answer = await api.client.post(path, json=body)
    return answer.status_code, answer.text


@pytest.mark.parametrize("path", WITH_PHOTO)
async def test_a_phones_photo_reaches_the_model_on_every_wire_that_carries_images(
    api: RunningApi, worker: Rig, path: str
) -> None:
    payload = await taken(api, worker, path, WITH_PHOTO[path])
    (message,) = payload["messages"]
    assert message["content"][-1]["image_url"]["url"] == PHOTO


async def test_a_configured_limit_of_bytes_applies_to_every_wire(redis_url: str) -> None:
    async with running_api(redis_url, max_body_bytes=2048) as api:
        for path, ask_many in WITH_MANY.items():
            status, reason = await refused(api, path, ask_many(200))
            assert (status, "2048" in reason) == (413, True)


async def test_gpt_terminal_sends_no_images_and_may_send_5_mb(api: RunningApi) -> None:
    status, reason = await refused(api, "/api/gpt/get", {"message": "x" * 5_300_000})
    assert (status, "5242880" in reason) == (413, True)


async def test_the_bytes_of_the_queue_hold_large_bodies_and_a_refused_one_leaves_nothing(
    redis_url: str, worker: Rig
) -> None:
    async with running_api(redis_url, queue_bytes=10_000_000) as api:
        # A conversation keeps the message twice more: in the log and among the turns.
        talk = {**WITH_PHOTO["/chat"], "conversation_id": "talk"}
        assert (await refused(api, "/chat", talk))[0] == 503
        for _ in range(2):
            answer = await api.client.post("/chat", json=WITH_PHOTO["/chat"])
            assert answer.status_code == 202
            assert (await refused(api, "/chat", WITH_PHOTO["/chat"]))[0] == 503
            await worker.claim()
            await worker.finish()


@pytest.mark.parametrize("path", WITH_MANY)
async def test_a_history_of_thousands_of_messages_is_accepted_on_every_wire(
    api: RunningApi, worker: Rig, path: str
) -> None:
    payload = await taken(api, worker, path, WITH_MANY[path](3000))
    assert len(payload["messages"]) == 3000


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/v1/chat/completions", {"messages": [HI]}, "tools"),
        ("/api/chat", WITH_MANY["/api/chat"](1), "tools"),
    ],
)
async def test_a_schema_of_a_tool_may_nest_deeper_than_32_levels(
    api: RunningApi, worker: Rig, path: str, body: Body, field: str
) -> None:
    tools = [nested(100)]
    assert (await taken(api, worker, path, {**body, field: tools}))["params"][field] == tools


async def test_how_deep_a_body_nests_is_a_setting(redis_url: str, worker: Rig) -> None:
    path, body = "/v1/chat/completions", {"messages": [HI]}
    async with running_api(redis_url, max_json_depth=500) as api:
        tools = [nested(497)]
        assert (await taken(api, worker, path, {**body, "tools": tools}))["params"]["tools"]
    async with running_api(redis_url, max_json_depth=8) as api:
        status, reason = await refused(api, path, {**body, "tools": [nested(7)]})
        assert (status, "tools: nested deeper than 8 levels" in reason) == (400, True)


async def test_nesting_that_no_parser_accepts_is_refused(api: RunningApi) -> None:
    bottomless = b'{"id": "c", "data": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    for path in WITH_MANY:
        answer = await api.client.post(
            path, content=bottomless, headers={"Content-Type": "application/json"}
        )
        assert answer.status_code == 400


async def test_how_many_values_a_body_holds_is_a_setting(redis_url: str, worker: Rig) -> None:
    async with running_api(redis_url, max_json_values=100) as api:
        for path, ask_many in WITH_MANY.items():
            status, reason = await refused(api, path, ask_many(101))
            assert (status, "more than 100 values" in reason) == (400, True)
        await taken(api, worker, "/chat", WITH_MANY["/chat"](30))


@pytest.mark.parametrize(
    ("body", "values"),
    [
        # One more than the list has: the count treats an empty list as one value, for speed.
        ("[]", 2),
        ('{"a": 1, "b": [2, 3]}', 5),
        ('["a", "b", {"c": "d"}]', 5),
        ('"[,{"', 1),
        (r'["\\", ",", "\",[{", "[\\\""]', 5),
    ],
)
def test_values_are_counted_and_not_the_commas_of_texts(body: str, values: int) -> None:
    assert parse_json(body.encode(), values) == json.loads(body)
    if values > 1:
        with pytest.raises(Problem, match="values"):
            parse_json(body.encode(), values - 1)


def test_an_unterminated_string_and_a_heap_of_quotes_are_not_json() -> None:
    for body in ('["a[[[[', '"a' * 1000, "[" * 1000, '{"\\'):
        with pytest.raises((ValueError, RecursionError, Problem)):
            parse_json(body.encode(), 3)


def test_a_body_with_an_unterminated_string_is_scanned_once() -> None:
    escaped_quotes = '\\"' * 500_000
    began_s = time.process_time()
    for end in ("", "\\"):
        with pytest.raises(ValueError, match="Unterminated"):
            parse_json(f'["[[[[", "{escaped_quotes}{end}'.encode(), 5)
    # A scan that starts over at each quote would take hours and block the whole process.
    assert time.process_time() - began_s < 2


@pytest.mark.parametrize("fault", ["\0", "\ud83d", float("nan"), nested(600)])
@pytest.mark.parametrize(
    "part",
    [
        {"type": "data-chart"},
        {"type": "source-url"},
        {"type": "tool-look", "toolCallId": "t", "state": "input-streaming"},
        {"type": "step-start"},
    ],
)
def test_fields_of_a_page_that_no_model_sees_are_not_checked(part: Body, fault: object) -> None:
    kept = {**part, "input": fault, "data": fault}
    message = {"role": "assistant", "metadata": fault, "parts": [LOOK, kept]}
    body = UiBody.model_validate({"id": "c", "messages": [message], "note": fault})
    assert body.chat_messages() == [{"role": "assistant", "content": "hi"}]
    turn = {"role": "user", "content": "hi", "note": fault}
    assert TerminalBody.model_validate({"message": [turn], "note": fault}).chat_messages() == [HI]


@pytest.mark.parametrize("fault", ["\0", "\ud83d", nested(600)])
@pytest.mark.parametrize(
    "part",
    [
        {"type": "text"},
        {"type": "file", "mediaType": "image/png"},
        {"type": "tool-look", "toolCallId": "t", "state": "output-available"},
        {"type": "dynamic-tool", "toolName": "look", "toolCallId": "t", "state": "output-error"},
    ],
)
def test_fields_that_a_model_would_see_are_checked_and_named(part: Body, fault: object) -> None:
    wrong = {**part, "text": fault, "url": fault, "output": fault, "errorText": fault}
    body = {"id": "c", "messages": [{"role": "assistant", "parts": [{"type": "x"}, wrong]}]}
    with pytest.raises(Problem) as failure:
        UiBody.model_validate(body)
    assert str(failure.value.param).startswith("messages")


def test_the_id_of_a_call_may_hold_a_thought_signature() -> None:
    answered = {"role": "tool", "content": "42", "tool_call_id": "call_" + "s" * 3000}
    assert ChatBody.model_validate({"messages": [answered]}).chat_messages() == [answered]
