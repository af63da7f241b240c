"""A 200 that is not an event stream: a JSON document is an answer or an error, a page neither."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.support.reading import KEY, Reading, read
from tests.support.rig import Rig, open_rig, working
from tests.support.script import Cut, Done, Finish, Headers, Pause, Raw, Script, Status
from tests.support.script import answer as streamed
from tests.support.scripted import ScriptedBody
from tests.support.upstream import Call, ScriptedUpstream
from tickertape.broker.errors import TooLong
from tickertape.runtime.settings import Settings
from tickertape.worker.upstream.answer_stream import AnswerStream, Limits
from tickertape.worker.upstream.body_decoder import BodyDecoder
from tickertape.worker.upstream.chunks import ChunkReader
from tickertape.worker.upstream.client import Upstream
from tickertape.worker.upstream.errors import (
    RateLimited,
    Rejected,
    Truncated,
    UpstreamError,
    UpstreamGarbage,
)
from tickertape.worker.upstream.pieces import Piece
from tickertape.worker.upstream.tally import Tally

FOREVER = Pause(3600)  # until the client leaves
CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"q":1}'}}
USAGE = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}


def completion(finish_reason: str | None = "stop", **message: Any) -> dict[str, Any]:
    choice = {
        "index": 0,
        "message": {"role": "assistant", **message},
        "finish_reason": finish_reason,
    }
    return {"object": "chat.completion", "model": "m-1", "choices": [choice], "usage": USAGE}


def kinds_and_data(pieces: list[Piece]) -> list[tuple[str, object]]:
    return [(piece.kind, piece.data or piece.text) for piece in pieces]


async def pieces_of(script: Script) -> tuple[list[Piece], Tally]:
    async def open_body() -> ScriptedBody:
        return ScriptedBody(script)

    tally = Tally()
    async with AnswerStream(open_body, ChunkReader(tally), Limits()) as stream:
        return [piece async for batch in stream for piece in batch], tally


def document(value: object) -> Raw:
    return Raw(json.dumps(value).encode())


async def test_a_completion_that_was_not_streamed_is_the_answer_with_all_its_fields() -> None:
    whole = completion(
        "tool_calls",
        content="Hi 🎉",
        reasoning_content="hm",
        refusal="no",
        tool_calls=[CALL, {**CALL, "id": "c2"}],
    )
    pieces, tally = await pieces_of([document(whole)])
    assert kinds_and_data(pieces) == [
        ("reasoning", "hm"),
        ("delta", "Hi 🎉"),
        ("refusal", "no"),
        ("tool_call", {"index": 0, "id": "c1", "name": "f", "arguments": '{"q":1}'}),
        ("tool_call", {"index": 1, "id": "c2", "name": "f", "arguments": '{"q":1}'}),
    ]
    assert (tally.finish_reason, tally.usage) == ("tool_calls", USAGE)


@pytest.mark.parametrize("media_type", ["application/json", "text/event-stream", "text/plain"])
async def test_a_completion_in_json_is_the_answer_under_any_media_type(media_type: str) -> None:
    body = json.dumps(completion(content="Hi"), indent=2)
    found = await read([Status(200, {"content-type": media_type}, body)])
    assert (found.text, found.error, found.tally.finish_reason) == ("Hi", None, "stop")


@pytest.mark.parametrize(
    ("whole", "text", "reason"),
    [
        (completion("MAX_TOKENS", content="Hi"), "Hi", "length"),
        (completion(None, content="Hi"), "Hi", "stop"),
        (completion("null", content="Hi"), "Hi", "stop"),
        (completion(None, tool_calls=[CALL]), "", "tool_calls"),
        (completion("stop", content=""), "", "stop"),
        (completion("content_filter", content=None), "", "content_filter"),
        ({"choices": [{"text": "Hi", "finish_reason": "length"}]}, "Hi", "length"),
        ({"choices": [{"delta": {"content": "Hi"}, "finish_reason": "stop"}]}, "Hi", "stop"),
    ],
)
async def test_the_last_bracket_of_a_document_is_the_end_of_its_answer(
    whole: dict[str, Any], text: str, reason: str
) -> None:
    found = await read([Status(200, {}, whole)])
    assert (found.text, found.error, found.tally.finish_reason) == (text, None, reason)


@pytest.mark.parametrize(
    ("body", "expected", "message"),
    [
        (
            {"error": {"code": 400, "message": f"Bad {KEY}"}},
            Rejected,
            "Bad […]",
        ),
        ({"error": {"type": "rate_limit_error"}}, RateLimited, ""),
        ({"detail": "Not found", "status": 404}, Rejected, "Not found"),
        ({}, UpstreamGarbage, "The upstream answered 200 with JSON that is not a completion."),
        ({"choices": []}, UpstreamGarbage, ""),
        ({"choices": [], "usage": USAGE}, UpstreamGarbage, ""),
        (completion(None, content=""), UpstreamGarbage, ""),
        ({"choices": [{"message": {"content": 5}}]}, UpstreamGarbage, ""),
    ],
)
async def test_a_document_without_an_answer_is_its_error_or_garbage(
    body: dict[str, Any], expected: type[UpstreamError], message: str
) -> None:
    found = await read([Status(200, {}, body)])
    assert type(found.error) is expected
    assert message in found.error.message
    assert KEY not in found.error.message


@pytest.mark.parametrize(
    "status",
    [
        Status(200, {}, "<html>Please log in</html>"),
        Status(200, {"content-type": "text/event-stream"}, "<html>Please log in</html>"),
        Status(200, {"content-type": "text/plain"}, "Please wait"),
        Status(200, {"content-type": "application/json"}, '{"choices":[{"message":'),
        Status(200, {"content-type": "application/json"}, "[]"),
        Status(200, {"content-type": "application/json"}, ""),
        Status(200, {"content-type": "text/event-stream"}, ""),
        Status(204, {"content-type": "application/json"}, ""),
    ],
)
async def test_an_answer_that_is_neither_a_stream_nor_json_is_garbage(status: Status) -> None:
    assert type((await read([status])).error) is UpstreamGarbage


async def test_a_page_is_not_read_to_its_end(upstream: ScriptedUpstream) -> None:
    upstream.script = [Headers({"content-type": "text/html"}), Raw(b"\n<!DOCTYPE html>"), FOREVER]
    found = Reading()
    async with Upstream(upstream.base_url) as client:
        await found.run(client)
        await asyncio.wait_for(upstream.calls[0].closed.wait(), 10)
    assert type(found.error) is UpstreamGarbage


@pytest.mark.parametrize("media_type", ["text/html; charset=UTF-8", "text/plain", "x"])
async def test_a_good_event_stream_is_read_under_any_media_type(media_type: str) -> None:
    found = await read([Headers({"content-type": media_type}), *streamed(["a", "b"])])
    assert (found.text, found.error) == ("ab", None)


async def test_a_document_that_is_cut_is_not_an_answer() -> None:
    half = json.dumps(completion(content="Hi")).encode()[:-20]
    found = await read([Headers({"content-type": "application/json"}), Raw(half), Cut()])
    assert (found.text, type(found.error)) == ("", Truncated)


async def test_a_document_kept_alive_by_blank_lines_is_read() -> None:
    whole = json.dumps(completion(content="Hi")).encode()
    alive = [Raw(b"\n"), Raw(b"   \r\n")] * 100
    found = await read([Headers({"content-type": "application/json"}), *alive, Raw(whole)])
    assert (found.text, found.error) == ("Hi", None)


async def test_no_more_of_a_document_is_read_than_an_answer_may_have() -> None:
    limits = Limits(document_bytes=1000)
    script = [Raw(b'{"choices":['), *[Raw(b" " * 100)] * 1000]

    async def open_body() -> ScriptedBody:
        return ScriptedBody(script)

    with pytest.raises(TooLong):
        async with AnswerStream(open_body, ChunkReader(Tally()), limits) as stream:
            assert [batch async for batch in stream] == []


def test_the_form_of_a_body_shows_in_its_first_bytes_however_they_are_cut() -> None:
    stream = b"\xef\xbb\xbf\r\n: hello\n\ndata: a\n\ndata: b"
    decoder = BodyDecoder(1000)
    events = [data for byte in stream for data in decoder.feed(bytes([byte]))]
    assert [*events, *decoder.close()] == [b"a", b"b"]
    document = b' \n{"a":\n\n1}'
    decoder = BodyDecoder(1000)
    assert [data for byte in document for data in decoder.feed(bytes([byte]))] == []
    assert decoder.close() == [b'{"a":\n\n1}']


def test_a_body_without_a_known_form_is_refused() -> None:
    decoder = BodyDecoder(1000)
    assert decoder.feed(b"x" * 60_000) == []
    with pytest.raises(UpstreamGarbage):
        decoder.feed(b"x" * 60_000)


@pytest.fixture
async def rig(redis_url: str, upstream: ScriptedUpstream) -> AsyncIterator[Rig]:
    fields = {"openai_base_url": upstream.base_url, "openai_model": "m", "max_output_bytes": 4096}
    settings = Settings.model_validate(fields)
    async with open_rig(redis_url, settings) as running, working(redis_url, settings):
        yield running


async def test_a_completion_in_json_costs_one_call(rig: Rig, upstream: ScriptedUpstream) -> None:
    upstream.script = [Status(200, {}, completion(content="Hi"))]
    answered = await rig.ended(await rig.ask())
    assert (answered.status, "".join(answered.text)) == ("completed", "Hi")
    assert answered.end["usage"] == USAGE
    assert len(upstream.calls) == 1


async def test_an_error_in_json_under_a_200_costs_one_call(
    rig: Rig, upstream: ScriptedUpstream
) -> None:
    upstream.script = [Status(200, {}, {"error": {"code": 400, "message": "Bad"}})]
    answered = await rig.ended(await rig.ask())
    assert (answered.end["code"], answered.end["message"]) == ("upstream_rejected", "Bad")
    assert len(upstream.calls) == 1


async def test_a_document_beyond_the_bound_of_an_answer_costs_one_call(
    rig: Rig, upstream: ScriptedUpstream
) -> None:
    upstream.script = [Status(200, {}, completion(content="x" * 5000))]
    answered = await rig.ended(await rig.ask())
    assert (answered.status, answered.end["code"]) == ("failed", "too_long")
    assert len(upstream.calls) == 1


async def test_a_200_without_an_answer_is_tried_three_times_and_no_more(
    rig: Rig, upstream: ScriptedUpstream
) -> None:
    scripts: dict[str, tuple[Script, str]] = {
        "a page": ([Status(200, {}, "<html>Please log in</html>")], "upstream_error"),
        "no choice": ([Status(200, {}, {"choices": []})], "upstream_error"),
        "only an end": ([Done()], "upstream_truncated"),
        "a malformed call": ([Finish("MALFORMED_FUNCTION_CALL"), Done()], "upstream_error"),
    }

    def asked(call: Call) -> str:
        return str(call.body["messages"][-1]["content"])

    upstream.script = lambda call: scripts[asked(call)][0]
    # At once, because each of them is tried again only after a pause.
    ids = {name: await rig.ask(name) for name in scripts}
    for name, request_id in ids.items():
        answered = await rig.ended(request_id)
        assert (answered.status, answered.end["code"]) == ("failed", scripts[name][1]), name
    assert Counter(map(asked, upstream.calls)) == dict.fromkeys(scripts, 3)
