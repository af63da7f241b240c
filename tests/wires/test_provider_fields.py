"""Fields that only an upstream knows reach every wire that has room, and go back where needed."""

import json
from typing import Any

import msgspec
import pytest
from openai import AsyncOpenAI

from tests.support.rig import Rig, working
from tests.support.running_api import RunningApi
from tests.support.script import Chunk, Done, Finish, Role
from tests.support.sse import collect
from tests.support.upstream import ScriptedUpstream
from tests.wires import folding
from tests.wires.chats import ask as ask_chat
from tests.wires.claiming import claimed
from tests.wires.recorded import REQUEST_ID, response_object
from tests.wires.responding import ask
from tests.wires.upstreams import chunks, log_of, log_of_choices, streamed
from tickertape.api.protocols.ai_sdk.body import UiMessage
from tickertape.api.protocols.ai_sdk.body import chat_messages as chat_messages_of_page
from tickertape.api.protocols.openai_chat import wire as chat_completions
from tickertape.api.protocols.openai_responses.input_items import chat_messages
from tickertape.broker.codec import Entry
from tickertape.broker.fold import fold
from tickertape.runtime.settings import Settings
from tickertape.worker.attempt import encoded
from tickertape.worker.upstream.chunks import ChunkReader
from tickertape.worker.upstream.tally import Tally

# openai-agents-python#4506: Gemini refuses the second step of a loop without it.
SIGNATURE = {"extra_content": {"google": {"thought_signature": "s1g=="}}}
F = {"name": "f", "arguments": "{}"}
SIGNED: dict[str, Any] = {"tool_calls": [{"index": 0, "id": "a", "function": F, **SIGNATURE}]}
INNER = {"provider_specific_fields": {"thought_signature": "s2g=="}}
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/webp;base64,AAAA"}}
CITED = {"url": "https://example.org/", "title": "A page", "start_index": 0, "end_index": 2}
CITATION = {"type": "url_citation", "url_citation": CITED}


def native_events(kind: str, entries: list[Entry]) -> list[Any]:
    found = []
    for frame in streamed("native", entries).split(b"\n\n")[:-1]:
        fields = dict(line.split(b": ", 1) for line in frame.split(b"\n"))
        if fields[b"event"].decode() == kind:
            found.append(json.loads(fields[b"data"]))
    return found


def deltas(entries: list[Entry]) -> list[dict[str, Any]]:
    said = chunks("chat_completions", entries)
    return [chunk["choices"][0]["delta"] for chunk in said if chunk["choices"]]


def message(entries: list[Entry]) -> dict[str, Any]:
    answer: dict[str, Any] = chat_completions.completion(REQUEST_ID, entries)["choices"][0]
    said: dict[str, Any] = answer["message"]
    return said


def ui(kind: str, entries: list[Entry]) -> list[dict[str, Any]]:
    folding.ui_message(streamed("ui_message", entries))
    return [chunk for chunk in chunks("ui_message", entries) if chunk["type"] == kind]


def test_a_signature_on_a_call_reaches_every_wire() -> None:
    log = log_of(SIGNED)
    function = {"type": "function", "function": F}
    assert native_events("tool_call", log) == [{"index": 0, "id": "a", **F, "x": SIGNATURE}]
    assert fold(log).snapshot()["tool_calls"] == [{"index": 0, "id": "a", **F, "x": SIGNATURE}]
    (piece,) = [delta for delta in deltas(log) if "tool_calls" in delta]
    assert piece == {"tool_calls": [{"index": 0, "id": "a", **function, **SIGNATURE}]}
    assert message(log)["tool_calls"] == [{"id": "a", **function, **SIGNATURE}]
    folding.responses(streamed("responses", log))
    assert response_object(log)["output"][0]["x"] == SIGNATURE
    (available,) = ui("tool-input-available", log)
    assert available["providerMetadata"] == {"tickertape": SIGNATURE}


def test_a_signature_that_comes_after_the_arguments_belongs_to_the_call() -> None:
    after = {"tool_calls": [{"index": 0, **SIGNATURE}]}
    log = log_of({"tool_calls": [{"index": 0, "id": "a", "function": F}]}, after)
    assert message(log)["tool_calls"][0]["extra_content"] == SIGNATURE["extra_content"]
    assert deltas(log)[-2] == {
        "tool_calls": [{"index": 0, "function": {"arguments": ""}, **SIGNATURE}]
    }


def test_a_field_inside_the_function_comes_out_inside_it() -> None:
    log = log_of({"tool_calls": [{"index": 0, "id": "a", "function": {**F, **INNER}}]})
    assert message(log)["tool_calls"][0]["function"] == {**F, **INNER}
    assert deltas(log)[1]["tool_calls"][0]["function"] == {**F, **INNER}


def test_a_page_returns_the_signature_to_the_upstream() -> None:
    part = {
        "type": "tool-f",
        "toolCallId": "a",
        "state": "output-available",
        "input": {},
        "output": "1",
        "callProviderMetadata": {"tickertape": {**SIGNATURE, "function": INNER, "id": "no"}},
    }
    text = {
        "type": "text",
        "text": "Hm.",
        "providerMetadata": {"tickertape": {**SIGNATURE, "images": [IMAGE], "role": "no"}},
    }
    said, outcome = chat_messages_of_page([UiMessage(role="assistant", parts=[text, part])])
    call = {"id": "a", "type": "function", "function": {**F, **INNER}, **SIGNATURE}
    assert said == {"role": "assistant", "content": "Hm.", "tool_calls": [call], **SIGNATURE}
    assert outcome["tool_call_id"] == "a"


@pytest.mark.parametrize("odd", [None, "x", {}, {"tickertape": "x"}, {"openai": {"a": 1}}])
def test_foreign_provider_metadata_is_dropped(odd: object) -> None:
    part = {"type": "tool-f", "toolCallId": "a", "state": "output-available", "input": {}}
    parts = [
        {"type": "text", "text": "Hm.", "providerMetadata": odd},
        {**part, "output": "1", "callProviderMetadata": odd},
    ]
    said, _ = chat_messages_of_page([UiMessage(role="assistant", parts=parts)])
    assert said.keys() == {"role", "content", "tool_calls"}
    assert said["tool_calls"][0].keys() == {"id", "type", "function"}


def test_the_items_of_a_response_return_the_signature_to_the_upstream() -> None:
    items = response_object(log_of({"content": "Hm.", **SIGNATURE}, SIGNED))["output"]
    (said,) = chat_messages(items)
    assert said["extra_content"] == SIGNATURE["extra_content"]
    assert said["tool_calls"] == [{"id": "a", "type": "function", "function": F, **SIGNATURE}]


def test_the_items_of_one_message_return_all_their_fields() -> None:
    def block(index: int) -> dict[str, Any]:
        return {"reasoning_details": [{"type": "reasoning.text", "index": index, "text": "Hm."}]}

    log = log_of({"reasoning": "Hm.", **block(0)}, {"content": "So.", **block(1)}, SIGNED)
    (said,) = chat_messages(response_object(log)["output"])
    assert said["reasoning_details"] == [
        *block(0)["reasoning_details"],
        *block(1)["reasoning_details"],
    ]
    assert (said["content"], len(said["tool_calls"])) == ("So.", 1)


async def test_a_chain_of_responses_returns_the_signature_to_the_upstream(
    api: RunningApi, worker: Rig, sdk: AsyncOpenAI
) -> None:
    del api
    asking = ask(sdk)
    await claimed(worker)
    reader = ChunkReader(Tally())
    pieces = reader.read(json.dumps({"choices": [{"delta": SIGNED}]}).encode())
    await worker.append(*map(encoded, pieces))
    await worker.end("completed", {"finish_reason": "tool_calls"})
    first = await asking
    output = {"type": "function_call_output", "call_id": "a", "output": "1"}
    asking = ask(sdk, [output], previous_response_id=first.id)
    payload = await claimed(worker)
    await worker.finish()
    await asking
    calls = [call for said in payload["messages"] for call in said.get("tool_calls", [])]
    assert calls == [{"id": "a", "type": "function", "function": F, **SIGNATURE}]


def test_images_reach_every_wire_that_shows_them() -> None:
    log = log_of({"role": "assistant", "content": ""}, {"content": "", "images": [IMAGE]})
    assert native_events("delta", log) == [{"text": "", "x": {"images": [IMAGE]}}]
    assert fold(log).snapshot()["x"] == {"images": [IMAGE]}
    assert {"content": "", "images": [IMAGE]} in deltas(log)
    assert message(log)["images"] == [IMAGE]
    folding.responses(streamed("responses", log))
    assert response_object(log)["output"][0]["x"] == {"images": [IMAGE]}
    file = {"url": IMAGE["image_url"]["url"], "mediaType": "image/webp"}  # type: ignore[index]
    assert ui("file", log) == [{"type": "file", **file}]
    assert streamed("text", log) == b""


def test_citations_reach_every_wire_that_shows_them() -> None:
    log = log_of({"content": "So."}, {"annotations": [CITATION]}, {"annotations": [CITATION]})
    assert message(log)["annotations"] == [CITATION, CITATION]
    assert message(log)["content"] == "So."
    folding.responses(streamed("responses", log))
    (part,) = response_object(log)["output"][0]["content"]
    assert part["annotations"] == [{"type": "url_citation", **CITED}] * 2
    events = chunks("responses", log)
    added = [e for e in events if e["type"] == "response.output_text.annotation.added"]
    assert [(event["annotation_index"], event["annotation"]) for event in added] == [
        (0, {"type": "url_citation", **CITED}),
        (1, {"type": "url_citation", **CITED}),
    ]
    source = {"type": "source-url", "url": CITED["url"], "title": "A page"}
    assert ui("source-url", log) == [
        {**source, "sourceId": "source-1"},
        {**source, "sourceId": "source-2"},
    ]


def test_reasoning_that_arrives_in_parts_is_complete_in_the_complete_answer() -> None:
    def part(**fields: Any) -> dict[str, Any]:
        return {"reasoning_details": [{"type": "reasoning.text", "index": 0, **fields}]}

    log = log_of(
        {"reasoning": "Hm", **part(text="Hm", format="v1")},
        {"reasoning": ".", **part(text=".")},
        {"content": "", **part(text="", signature="s3g==")},
        SIGNED,
    )
    block = {"type": "reasoning.text", "index": 0, "text": "Hm.", "format": "v1"}
    whole = [{**block, "signature": "s3g=="}]
    assert message(log)["reasoning_details"] == whole
    assert fold(log).snapshot()["x"] == {"reasoning_details": whole}
    (end,) = ui("reasoning-end", log)
    assert end["providerMetadata"] == {"tickertape": {"reasoning_details": whole}}
    assert response_object(log)["output"][0]["x"] == {"reasoning_details": whole}
    # Folding did not change the log.
    assert message(log)["reasoning_details"] == whole
    assert deltas(log)[1]["reasoning_details"] == part(text="Hm", format="v1")["reasoning_details"]


def test_an_unknown_field_reaches_the_client_unchanged() -> None:
    log = log_of({"content": "a", "zzz": {"deep": [1, None]}}, {"content": "b", "zzz": {"e": 2}})
    assert [delta.get("zzz") for delta in deltas(log)[1:3]] == [{"deep": [1, None]}, {"e": 2}]
    assert message(log)["zzz"] == {"deep": [1, None], "e": 2}
    assert [event["text"] for event in native_events("delta", log)] == ["a", "b"]


def test_probabilities_of_tokens_without_text_are_not_lost() -> None:
    def tokens(*words: str) -> dict[str, Any]:
        return {"content": [{"token": word, "logprob": -1.0, "bytes": None} for word in words]}

    log = log_of_choices(
        {"delta": {"role": "assistant", "content": ""}, "logprobs": tokens("<s>")},
        {"delta": {"content": "a"}, "logprobs": tokens("a")},
        {"delta": {"content": ""}, "logprobs": tokens("\\xe4")},
        {"delta": {"content": "b"}, "logprobs": tokens("b")},
        {"delta": {"content": ""}, "logprobs": tokens("</s>")},
    )
    words = ["<s>", "a", "\\xe4", "b", "</s>"]
    choice = chat_completions.completion(REQUEST_ID, log)["choices"][0]
    assert [token["token"] for token in choice["logprobs"]["content"]] == words
    streams = [chunk["choices"][0]["logprobs"] for chunk in chunks("chat_completions", log)]
    tokens_seen = [token["token"] for said in streams if said for token in said["content"]]
    assert tokens_seen == words
    (part,) = response_object(log)["output"][0]["content"]
    assert [token["token"] for token in part["logprobs"]] == words
    assert part["text"] == "ab"
    folding.responses(streamed("responses", log))
    folding.ui_message(streamed("ui_message", log))


def test_fields_that_a_page_would_refuse_are_left_out_for_it() -> None:
    log = log_of({"content": "a", "zzz": json.loads('{"__proto__": 1}')})
    (end,) = ui("text-end", log)
    assert "providerMetadata" not in end


def test_provider_fields_alone_do_not_start_an_answer() -> None:
    tally = Tally()
    reader = ChunkReader(tally)
    chunk = {"choices": [{"delta": {"role": "assistant", "content": "", "zzz": 1}}]}
    assert reader.read(json.dumps(chunk).encode()) == []
    assert not tally.has_output
    assert reader.close() == []
    chunk = {"choices": [{"delta": {"content": "a", "zzz": None, "yyy": []}}]}
    (piece,) = reader.read(json.dumps(chunk).encode())
    assert (piece.text, piece.x) == ("a", {"zzz": 1})


def test_a_delta_of_provider_fields_alone_does_not_count_as_output() -> None:
    tally = Tally()
    reader = ChunkReader(tally)
    for delta in ({"content": "a"}, {"content": "", "images": [IMAGE]}):
        reader.read(json.dumps({"choices": [{"delta": delta}]}).encode())
    assert (tally.text, tally.deltas, tally.has_only_text) == ("a", 1, False)
    entry = encoded(ChunkReader(Tally("a", 1)).read(b'{"choices":[{"delta":{"zzz":1}}]}')[0])
    assert entry[:1] == b"D"
    assert msgspec.json.decode(entry[1:]) == {"text": "", "x": {"zzz": 1}}


async def test_an_answer_of_images_alone_is_an_answer(
    redis_url: str, upstream: ScriptedUpstream, api: RunningApi, sdk: AsyncOpenAI
) -> None:
    shown = {"role": "assistant", "content": "", "images": [IMAGE]}
    chunk = Chunk({"choices": [{"index": 0, "delta": shown}]})
    upstream.script = [Role(), chunk, Finish(), Done()]
    settings = Settings(openai_base_url=upstream.base_url, openai_model="m")
    async with working(redis_url, settings):
        said = (await ask_chat(sdk)).choices[0].message
        request_id = await api.submit()
        await collect(f"{api.url}/chat/{request_id}/stream")
    assert said.to_dict()["images"] == [IMAGE]
    polled = await api.read(request_id)
    assert (polled["status"], polled["text"], polled["x"]) == (
        "completed",
        "",
        {"images": [IMAGE]},
    )
