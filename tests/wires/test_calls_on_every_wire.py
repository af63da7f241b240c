"""The same tool calls with the same ids on every wire, live and afterwards, for odd upstreams."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletionChunk

from tests.support.rig import working
from tests.support.running_api import running_api
from tests.support.script import Chunk, Done, Finish, Step
from tests.support.sse import collect
from tests.support.upstream import ScriptedUpstream
from tests.wires import folding
from tests.wires.recorded import DIALECTS, REQUEST_ID, rendered, response_object
from tests.wires.upstreams import chunks, log_of, streamed
from tickertape.api.protocols.openai_chat import wire as chat_completions
from tickertape.broker.codec import Cursor, Entry
from tickertape.broker.fold import fold
from tickertape.broker.kinds import EntryKind
from tickertape.runtime.json_types import JsonObject
from tickertape.runtime.settings import Settings

Call = tuple[str, str, str]


def native_calls(entries: list[Entry]) -> list[Call]:
    """By the documented rule for clients: an id and a name are set, arguments are appended."""
    calls: dict[int, dict[str, Any]] = {}
    for frame in streamed("native", entries).split(b"\n\n"):
        fields = dict(line.split(b": ", 1) for line in frame.split(b"\n") if line)
        if fields.get(b"event") == b"tool_call":
            data = json.loads(fields[b"data"])
            call = calls.setdefault(data["index"], {**data, "arguments": ""})
            call["arguments"] += data.get("arguments", "")
    return [(call["id"], call["name"], call["arguments"]) for call in calls.values()]


def snapshot_calls(entries: list[Entry]) -> list[Call]:
    calls = fold(entries).snapshot()["tool_calls"]
    return [(call["id"], call["name"], call["arguments"]) for call in calls]


def chat_stream_calls(entries: list[Entry]) -> list[Call]:
    """By the SDK's own accumulation, which appends repeated fields."""
    state: ChatCompletionStreamState[Any] = ChatCompletionStreamState()
    for chunk in chunks("chat_completions", entries):
        if chunk["choices"]:
            state.handle_chunk(ChatCompletionChunk.model_validate(chunk))
    called = state.current_completion_snapshot.choices[0].message.tool_calls or []
    return [(call.id, call.function.name, call.function.arguments) for call in called]


def chat_object_calls(entries: list[Entry]) -> list[Call]:
    message = chat_completions.completion(REQUEST_ID, entries)["choices"][0]["message"]
    return [_of_chat(call) for call in message["tool_calls"]]


def _of_chat(call: dict[str, Any]) -> Call:
    return call["id"], call["function"]["name"], call["function"]["arguments"]


def responses_object_calls(entries: list[Entry]) -> list[Call]:
    return [_of_item(item) for item in response_object(entries)["output"]]


def responses_stream_calls(entries: list[Entry]) -> list[Call]:
    folding.responses(streamed("responses", entries))  # the SDK's own types and accumulation
    events = chunks("responses", entries)
    return [_of_item(e["item"]) for e in events if e["type"] == "response.output_item.done"]


def _of_item(item: dict[str, Any]) -> Call:
    return item["call_id"], item["name"], item["arguments"]


def ui_calls(entries: list[Entry]) -> list[Call]:
    folding.ui_message(streamed("ui_message", entries))
    inputs: dict[str, tuple[str, list[str]]] = {}
    for chunk in chunks("ui_message", entries):
        if chunk["type"] == "tool-input-start":
            inputs[chunk["toolCallId"]] = (chunk["toolName"], [])
        elif chunk["type"] == "tool-input-delta":
            inputs[chunk["toolCallId"]][1].append(chunk["inputTextDelta"])
    return [(call_id, name, "".join(texts)) for call_id, (name, texts) in inputs.items()]


def agui_calls(entries: list[Entry]) -> list[Call]:
    folding.agui(streamed("agui", entries))
    calls: dict[str, tuple[str, list[str]]] = {}
    for event in chunks("agui", entries):
        if event["type"] == "TOOL_CALL_START":
            calls[event["toolCallId"]] = (event["toolCallName"], [])
        elif event["type"] == "TOOL_CALL_ARGS":
            calls[event["toolCallId"]][1].append(event["delta"])
    return [(call_id, name, "".join(texts)) for call_id, (name, texts) in calls.items()]


READINGS: dict[str, Callable[[list[Entry]], list[Call]]] = {
    "native": native_calls,
    "snapshot": snapshot_calls,
    "chat_completions": chat_stream_calls,
    "chat_completions.json": chat_object_calls,
    "responses": responses_stream_calls,
    "responses.json": responses_object_calls,
    "ui_message": ui_calls,
    "agui": agui_calls,
}


def called(**fields: Any) -> dict[str, Any]:
    return {"tool_calls": [fields]}


F, G = {"name": "f", "arguments": '{"a":1}'}, {"name": "g", "arguments": '{"b":2}'}
MADE_0, MADE_1 = (f"call_{REQUEST_ID}_{index}" for index in range(2))

UPSTREAMS: dict[str, tuple[list[dict[str, Any]], list[Call]]] = {
    # ollama#15457
    "parallel calls share an index": (
        [called(index=0, id="a", function=F), called(index=0, id="b", function=G)],
        [("a", "f", '{"a":1}'), ("b", "g", '{"b":2}')],
    ),
    "parallel calls share an index and their parts are interleaved": (
        [
            called(index=0, id="a", function={"name": "f", "arguments": ""}),
            called(index=0, id="b", function={"name": "g", "arguments": ""}),
            called(index=0, id="a", function={"arguments": '{"a":1}'}),
            called(index=0, id="b", function={"arguments": '{"b":2}'}),
        ],
        [("a", "f", '{"a":1}'), ("b", "g", '{"b":2}')],
    ),
    # hermes-agent#8259
    "the name and the id are in each part": (
        [
            called(index=0, id="a", function={"name": "f", "arguments": '{"a"'}),
            called(index=0, id="a", function={"name": "f", "arguments": ":1}"}),
        ],
        [("a", "f", '{"a":1}')],
    ),
    "a fresh id is in each part": (
        [
            called(index=0, id="a", function={"name": "f", "arguments": ""}),
            called(index=0, id="b", function={"name": "", "arguments": '{"a"'}),
            called(index=0, id="c", function={"arguments": ":1}"}),
        ],
        [("a", "f", '{"a":1}')],
    ),
    "no call has an id": (
        [called(index=0, function=F), called(index=1, id="", function=G)],
        [(MADE_0, "f", '{"a":1}'), (MADE_1, "g", '{"b":2}')],
    ),
    "all calls have one id": (
        [called(index=0, id="a", function=F), called(index=1, id="a", function=G)],
        [("a", "f", '{"a":1}'), (MADE_1, "g", '{"b":2}')],
    ),
    "no call has an index": (
        [{"tool_calls": [{"id": "a", "function": F}, {"id": "b", "function": G}]}],
        [("a", "f", '{"a":1}'), ("b", "g", '{"b":2}')],
    ),
    "indexes begin at 1": (
        [called(index=1, id="a", function=F), called(index=2, id="b", function=G)],
        [("a", "f", '{"a":1}'), ("b", "g", '{"b":2}')],
    ),
    "the name comes after the id": (
        [
            called(index=0, id="a"),
            called(index=0, function={"name": "f"}),
            called(index=0, function={"arguments": '{"a":1}'}),
        ],
        [("a", "f", '{"a":1}')],
    ),
}


@pytest.mark.parametrize("reading", READINGS)
@pytest.mark.parametrize("upstream", UPSTREAMS)
def test_tool_calls_are_the_same_on_every_wire(upstream: str, reading: str) -> None:
    deltas, expected = UPSTREAMS[upstream]
    assert READINGS[reading](log_of(*deltas)) == expected


@pytest.mark.parametrize("reading", [name for name in READINGS if name != "native"])
def test_a_log_of_version_0_1_0_that_repeats_a_name_has_it_once(reading: str) -> None:
    log = log_of(called(index=0, id="a", function={"name": "f", "arguments": ""}))
    pieces = [{"index": 0, "name": "f", "arguments": "{"}, {"index": 0, "arguments": "}"}]
    last = log.pop()
    for piece in pieces:
        log.append(Entry(log[-1].cursor.next(), "tool_call", data=piece))
    log.append(Entry(log[-1].cursor.next(), last.kind, data=last.data))
    assert READINGS[reading](log) == [("a", "f", "{}")]


async def test_calls_are_the_same_live_polled_and_in_a_snapshot(
    redis_url: str, upstream: ScriptedUpstream
) -> None:
    deltas = [called(index=0, function=F), called(index=0, id="b", function=G)]
    steps: list[Step] = [Chunk({"choices": [{"index": 0, "delta": delta}]}) for delta in deltas]
    upstream.script = [*steps, Finish("tool_calls"), Done()]
    settings = Settings(openai_base_url=upstream.base_url, openai_model="m")
    async with running_api(redis_url) as api, working(redis_url, settings):
        request_id = await api.submit()
        url = f"{api.url}/chat/{request_id}/stream"
        live = [event.data for event in await collect(url) if event.kind == "tool_call"]
        (snapshot,) = [e for e in await collect(f"{url}?snapshot=1") if e.kind == "snapshot"]
        polled = (await api.read(request_id))["tool_calls"]
    made = f"call_{request_id}_0"
    assert live == [{"index": 0, "id": made, **F}, {"index": 1, "id": "b", **G}]
    assert snapshot.data["tool_calls"] == live
    assert polled == live


def test_what_follows_the_results_of_a_function_is_another_step_of_a_page() -> None:
    call = {"index": 0, "id": "a", "name": "f", "arguments": "{}"}
    data: list[tuple[EntryKind, JsonObject]] = [
        ("tool_call", call),
        ("tool_call", call | {"index": 1, "id": "b"}),
        ("tool_result", {"index": 1, "id": "b", "result": {"constructor": {"prototype": 1}}}),
        ("data", {"name": "chart", "value": {"__proto__": 1}}),
        ("tool_result", {"index": 0, "id": "a", "result": 1}),
    ]
    log = [Entry(Cursor(1000, n), kind, data=fields) for n, (kind, fields) in enumerate(data)]
    log.append(Entry(Cursor(1000, 9), "delta", "Done."))
    log.append(Entry(Cursor(1000, 10), "completed", data={}))
    sent = b"".join(rendered(DIALECTS["ui_message"], log).frames)
    chunks = [json.loads(event) for event in folding.events(sent)[:-1]]
    assert [chunk["type"] for chunk in chunks if "tool-input" not in chunk["type"]] == [
        "start", "start-step", "tool-output-error", "tool-output-available", "finish-step",
        "start-step", "text-start", "text-delta", "text-end", "finish-step", "finish",
    ]  # fmt: skip
    assert all(c["providerExecuted"] for c in chunks if c["type"].startswith("tool-output"))
