"""The upstream client over real HTTP: requests, and answers without faults."""

import asyncio
import logging
from typing import Any

import pytest

from tests.support.reading import KEY, PAYLOAD, QUESTION
from tests.support.script import (
    Chunk,
    Comment,
    Done,
    Error,
    Finish,
    LineEnding,
    Pause,
    Raw,
    Reasoning,
    Reset,
    Script,
    Split,
    Status,
    Step,
    Text,
    ToolCall,
    Usage,
    Wait,
    answer,
    bytes_of,
    error_body,
)
from tests.support.upstream import ScriptedUpstream
from tickertape.worker.upstream.answer_stream import Limits
from tickertape.worker.upstream.client import Upstream
from tickertape.worker.upstream.errors import Rejected, UpstreamFault
from tickertape.worker.upstream.pieces import Piece
from tickertape.worker.upstream.tally import Tally

SPLIT_TEXT = "né 😀\u2028 end"


async def collect(
    upstream: Upstream, tally: Tally | None = None, payload: dict[str, Any] = PAYLOAD
) -> list[Piece]:
    pieces: list[Piece] = []
    async with upstream.stream(payload, tally or Tally()) as stream:
        async for batch in stream:
            assert batch
            pieces += batch
    return pieces


async def played(*scripts: Script) -> tuple[list[Piece], Tally]:
    async with ScriptedUpstream() as scripted, Upstream(scripted.base_url) as upstream:
        scripted.enqueue(*scripts)
        tally = Tally()
        return await collect(upstream, tally), tally


async def test_an_answer_arrives_piece_by_piece_with_its_end() -> None:
    pieces, tally = await played(answer(["Hé", "llo", " 🎉"], usage=(7, 3)))
    assert pieces == [Piece("delta", "Hé"), Piece("delta", "llo"), Piece("delta", " 🎉")]
    assert tally.finish_reason == "stop"
    assert tally.text == "Héllo 🎉"
    assert tally.usage == {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}


@pytest.mark.parametrize("eol", ["\n", "\r", "\r\n"])
async def test_every_line_end_and_comments_are_understood(eol: str) -> None:
    _, tally = await played([LineEnding(eol), Comment("hi"), *answer(["a", "b"])])
    assert (tally.text, tally.finish_reason) == ("ab", "stop")


@pytest.mark.parametrize("size", [1, 2, 7, 100])
async def test_chunks_cut_anywhere_by_the_network_arrive_whole(size: int) -> None:
    step = Text(SPLIT_TEXT)
    cuts = range(size, len(bytes_of(step)), size)
    _, tally = await played([Split(step, [*cuts]), Finish(), Done()])
    assert tally.text == SPLIT_TEXT


async def test_a_role_and_a_text_in_one_segment_make_one_batch() -> None:
    two = Raw(bytes_of(Text("a")) + bytes_of(Text("b")))
    async with ScriptedUpstream() as scripted, Upstream(scripted.base_url) as upstream:
        scripted.enqueue([two, Finish(), Done()])
        async with upstream.stream(PAYLOAD, Tally()) as stream:
            assert [batch async for batch in stream] == [[Piece("delta", "a"), Piece("delta", "b")]]


async def test_a_body_that_ends_without_done_is_complete_if_it_had_a_finish_reason() -> None:
    _, tally = await played([Text("a"), Finish("length")])
    assert tally.finish_reason == "length"


async def test_a_huge_delta_arrives_whole() -> None:
    _, tally = await played(answer(["x" * 3_000_000, "end"]))
    assert len(tally.text.encode()) == 3_000_003


async def test_reasoning_and_tool_calls_come_in_order() -> None:
    steps: list[Step] = [Reasoning("hm", key="reasoning"), ToolCall('{"a"', "f", "c1")]
    pieces, tally = await played([*steps, ToolCall(":1}"), Finish("tool_calls"), Done()])
    assert [piece.kind for piece in pieces] == ["reasoning", "tool_call", "tool_call"]
    assert tally.finish_reason == "tool_calls"


async def test_half_a_character_at_the_end_is_returned_before_the_end() -> None:
    pieces, _ = await played([Text("a\ud83d"), Finish(), Done()])
    assert [piece.text for piece in pieces] == ["a", "\ufffd"]


@pytest.fixture
async def client(upstream: ScriptedUpstream) -> Any:
    async with Upstream(upstream.base_url, KEY, model="default") as client:
        yield client


async def test_the_request_goes_out_as_it_is_with_stream_and_usage(
    upstream: ScriptedUpstream, client: Upstream
) -> None:
    payload = PAYLOAD | {"temperature": 0.5, "top_k": 3, "metadata": {"odd": ["é", None]}}
    await collect(client, payload=payload)
    (call,) = upstream.calls
    assert call.body == payload | {"stream": True, "stream_options": {"include_usage": True}}
    assert call.has_authorization
    assert call.path == "/v1/chat/completions"


@pytest.mark.parametrize("size", [1, 65_400, 65_536, 300_000])
async def test_a_prompt_of_any_length_arrives_whole_in_the_first_call_and_in_later_ones(
    upstream: ScriptedUpstream, client: Upstream, size: int
) -> None:
    payload = PAYLOAD | {"messages": [{"role": "user", "content": "é" + "x" * size}]}
    for _ in range(3):
        await collect(client, payload=payload)
    assert [call.body["messages"] for call in upstream.calls] == [payload["messages"]] * 3


@pytest.mark.parametrize("model", [{}, {"model": None}, {"model": ""}])
async def test_a_request_that_names_no_model_gets_the_default(
    upstream: ScriptedUpstream, client: Upstream, model: dict[str, Any]
) -> None:
    await collect(client, payload={"messages": [QUESTION], **model})
    assert upstream.calls[0].model == "default"


async def test_other_stream_options_are_kept(upstream: ScriptedUpstream, client: Upstream) -> None:
    options = {"include_usage": False, "include_obfuscation": False}
    await collect(client, payload=PAYLOAD | {"stream_options": options})
    assert upstream.calls[0].body["stream_options"] == options | {"include_usage": True}


@pytest.mark.parametrize(
    ("profile", "limits", "sent"),
    [
        ("openai", {"max_tokens": 5}, {"max_completion_tokens": 5}),
        ("openai", {"max_tokens": 5, "max_completion_tokens": 6}, {"max_completion_tokens": 6}),
        ("other", {"max_tokens": 5}, {"max_tokens": 5}),
        ("other", {"max_completion_tokens": 5}, {"max_completion_tokens": 5}),
    ],
)
async def test_the_limit_on_an_answer_has_the_name_that_the_upstream_knows(
    upstream: ScriptedUpstream, profile: str, limits: dict[str, int], sent: dict[str, int]
) -> None:
    async with Upstream(upstream.base_url, profile=profile) as client:
        await collect(client, payload={**PAYLOAD, **limits})
    limits = {k: v for k, v in upstream.calls[-1].body.items() if k.startswith("max_")}
    assert limits == sent


async def test_a_server_without_a_key_is_called(upstream: ScriptedUpstream) -> None:
    async with Upstream(upstream.base_url) as client:
        assert len(await collect(client)) == 1


@pytest.mark.parametrize("status", [400, 422])
async def test_stream_options_are_left_out_after_their_first_refusal(
    upstream: ScriptedUpstream, client: Upstream, status: int
) -> None:
    refusal = Status(status, {}, error_body("Unknown field: stream_options", None))
    upstream.enqueue([refusal])
    await collect(client)
    await collect(client)
    with_options = ["stream_options" in call.body for call in upstream.calls]
    assert with_options == [True, False, False]


async def test_stream_options_are_left_out_once_only(
    upstream: ScriptedUpstream, client: Upstream
) -> None:
    refusal = Status(400, {}, error_body("Unknown field: stream_options", None))
    upstream.enqueue([refusal], [refusal])
    with pytest.raises(Rejected, match="stream_options"):
        await collect(client)
    assert len(upstream.calls) == 2


async def test_a_connection_serves_one_answer_after_the_other() -> None:
    async with ScriptedUpstream() as scripted, Upstream(scripted.base_url) as client:
        await collect(client)
        (first,) = scripted._connections
        await collect(client)
        assert scripted._connections == {first}


async def test_a_connection_is_kept_although_the_body_ends_a_little_after_done() -> None:
    async with ScriptedUpstream() as scripted, Upstream(scripted.base_url) as client:
        scripted.enqueue([*answer("a"), Pause(0.02)])
        await collect(client)
        (first,) = scripted._connections
        await collect(client)
        assert scripted._connections == {first}


async def test_a_kept_connection_that_was_closed_is_replaced(
    upstream: ScriptedUpstream, client: Upstream
) -> None:
    upstream.enqueue(answer("a"), [Reset()], answer("b"))
    assert [piece.text for _ in range(2) for piece in await collect(client)] == ["a", "b"]
    assert [call.outcome for call in upstream.calls] == ["answered", "reset", "answered"]


async def test_an_upstream_that_stays_open_after_done_is_not_waited_for() -> None:
    never = asyncio.Event()
    async with ScriptedUpstream() as scripted, Upstream(scripted.base_url) as client:
        scripted.enqueue([*answer("all of it"), Wait(never)])
        async with asyncio.timeout(5):
            assert len(await collect(client)) == 1
        await asyncio.wait_for(scripted.calls[0].closed.wait(), 5)


async def test_many_streams_run_at_the_same_time(
    upstream: ScriptedUpstream, client: Upstream
) -> None:
    gate = asyncio.Event()
    upstream.script = lambda call: [Text(str(call.n)), Wait(gate), Finish(), Done()]
    tallies = [Tally() for _ in range(20)]

    async def one(tally: Tally) -> None:
        async with client.stream(PAYLOAD, tally) as stream:
            async for _ in stream:
                if all(tally.deltas for tally in tallies):
                    gate.set()

    async with asyncio.timeout(20):
        await asyncio.gather(*map(one, tallies))
    assert {tally.text for tally in tallies} == {str(n) for n in range(20)}


async def test_neither_key_nor_prompt_is_logged_at_any_level(
    upstream: ScriptedUpstream, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("openai", "httpx2"):
        monkeypatch.setattr(logging.getLogger(name), "level", logging.NOTSET)
    caplog.set_level(logging.DEBUG)
    upstream.enqueue([Status(500)], [Text("the answer"), Error("the answer")])
    async with Upstream(upstream.base_url, KEY) as client:
        for _ in range(2):
            with pytest.raises(UpstreamFault):
                await collect(client)
        await collect(client)
    for leaked in ("secret of the cat", "sk-test", "the answer", upstream.base_url):
        assert leaked not in caplog.text


async def test_a_short_silence_is_not_a_failure(upstream: ScriptedUpstream) -> None:
    upstream.enqueue([Text("a"), Pause(0.02), Text("b"), Usage(1, 2), Chunk({}), Finish(), Done()])
    tally = Tally()
    limits = Limits(first_byte_s=10, stall_s=10, deadline_s=10)
    async with (
        Upstream(upstream.base_url) as client,
        client.stream(PAYLOAD, tally, limits) as stream,
    ):
        assert [piece.text for batch in [b async for b in stream] for piece in batch] == ["a", "b"]
