import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import script
from tests.support.script import payload_of
from tickertape.worker.upstream.chunks import ChunkReader
from tickertape.worker.upstream.errors import RateLimited, Rejected, UpstreamFault
from tickertape.worker.upstream.pieces import Piece
from tickertape.worker.upstream.tally import Tally

HIGH, LOW = "\ud83d", "\ude00"


def data_of(payload: object) -> bytes:
    return json.dumps(payload).encode()


def delta(**fields: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": fields}]}


def read(*payloads: object) -> list[Piece]:
    reader = ChunkReader(Tally())
    return [piece for payload in payloads for piece in reader.read(data_of(payload))]


def kinds_and_data(pieces: list[Piece]) -> list[tuple[str, object]]:
    return [(piece.kind, piece.data or piece.text) for piece in pieces]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"content": "Hi"}, [("delta", "Hi")]),
        ({"role": "assistant", "content": ""}, []),
        ({"role": "assistant", "content": None}, []),
        ({}, []),
        ({"content": "nul \x00 stays"}, [("delta", "nul \x00 stays")]),
        ({"reasoning_content": "hm"}, [("reasoning", "hm")]),
        ({"reasoning": "hm"}, [("reasoning", "hm")]),
        ({"reasoning_content": "hm", "reasoning": "hm"}, [("reasoning", "hm")]),
        ({"reasoning_content": None, "reasoning": "hm"}, [("reasoning", "hm")]),
        ({"reasoning": "hm", "content": "Hi"}, [("reasoning", "hm"), ("delta", "Hi")]),
        ({"refusal": "No."}, [("refusal", "No.")]),
        ({"content": "😀", "unknown": {"a": [1]}}, [("delta", "😀")]),
    ],
)
def test_a_delta_becomes_its_pieces(fields: dict[str, Any], expected: list[object]) -> None:
    assert kinds_and_data(read(delta(**fields))) == expected


@pytest.mark.parametrize(
    "payload",
    [
        {"choices": []},
        {"choices": None},
        {},
        {"choices": [], "id": "", "model": "", "prompt_filter_results": [{"prompt_index": 0}]},
        {"choices": [{"index": 0, "delta": None}]},
        {"choices": [{"index": 0}]},
        {"choices": [{"index": 1, "delta": {"content": "the answer nobody asked for"}}]},
        {"choices": [{"index": 0, "delta": {"content": ""}}], "error": None},
    ],
)
def test_a_chunk_without_output_has_no_pieces(payload: object) -> None:
    assert read(payload) == []


def test_only_the_first_answer_is_taken() -> None:
    both = [{"index": 1, "delta": {"content": "b"}}, {"index": 0, "delta": {"content": "a"}}]
    assert kinds_and_data(read({"choices": both})) == [("delta", "a")]


def test_logprobs_go_along_with_the_text_they_belong_to() -> None:
    logprobs = {"content": [{"token": "Hi", "logprob": -0.5}]}
    choice = {"index": 0, "delta": {"content": "Hi"}, "logprobs": logprobs}
    (piece,) = read({"choices": [choice]})
    assert piece.x == {"logprobs": logprobs}
    choice = {"index": 0, "delta": {"refusal": "No"}, "logprobs": {"refusal": []}}
    (piece,) = read({"choices": [choice]})
    assert piece.x == {"logprobs": {"refusal": []}}


def call(**fields: Any) -> dict[str, Any]:
    return delta(tool_calls=[fields])


def test_a_tool_call_becomes_one_piece_for_each_part() -> None:
    pieces = read(
        payload_of(script.ToolCall("", "look_up", "call_1"), "m"),
        payload_of(script.ToolCall('{"q":'), "m"),
        payload_of(script.ToolCall('"x"}'), "m"),
    )
    assert [piece.data for piece in pieces] == [
        {"index": 0, "id": "call_1", "name": "look_up", "arguments": ""},
        {"index": 0, "arguments": '{"q":'},
        {"index": 0, "arguments": '"x"}'},
    ]


def test_custom_tools_keep_their_type() -> None:
    (piece,) = read(call(index=0, id="c", type="custom", custom={"name": "sh", "input": "ls"}))
    assert piece.data == {
        "index": 0,
        "id": "c",
        "type": "custom",
        "name": "sh",
        "arguments": "ls",
    }


def test_an_empty_part_of_a_tool_call_is_dropped() -> None:
    assert read(call(index=0), call(index=0, type="function")) == []


def test_the_tally_has_the_finish_reason() -> None:
    tally = Tally()
    reader = ChunkReader(tally)
    for step in (script.Role(), script.Text("a"), script.Finish("length"), script.Usage(3, 4)):
        reader.read(data_of(payload_of(step, "model-1")))
    assert tally.finish_reason == "length"
    assert tally.usage == {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}


def test_the_last_usage_counts_where_every_chunk_has_one() -> None:
    tally = Tally()
    reader = ChunkReader(tally)
    reader.read(data_of(delta(content="a") | {"usage": {"completion_tokens": 1}}))
    reader.read(data_of(delta(content="b") | {"usage": {"completion_tokens": 2}}))
    reader.read(data_of({"choices": [], "usage": None}))
    assert tally.usage == {"completion_tokens": 2}


def test_token_counts_that_come_as_floats_are_whole_numbers_and_a_cost_stays_as_it_is() -> None:
    tally = Tally()
    sent = {
        "prompt_tokens": 12.0,
        "completion_tokens": 3.6,
        "total_tokens": 1e300,
        "cost": 12.0,
        "prompt_tokens_details": {"cached_tokens": 8.0},
        "per_request": [1.5],
    }
    ChunkReader(tally).read(data_of({"choices": [], "usage": sent}))
    assert json.dumps(tally.usage) == json.dumps(
        {
            "prompt_tokens": 12,
            "completion_tokens": 4,
            "total_tokens": None,
            "cost": 12.0,
            "prompt_tokens_details": {"cached_tokens": 8},
            "per_request": [1.5],
        }
    )


def test_numbers_that_no_encoder_accepts_are_left_out() -> None:
    tally = Tally()
    reader = ChunkReader(tally)
    (piece,) = reader.read(
        data_of(call(index=2**70, id="a", function={"name": "f"}) | {"usage": {"n": 2**70, "m": 1}})
    )
    assert piece.data == {"index": 0, "id": "a", "name": "f", "arguments": ""}
    assert tally.usage == {"n": None, "m": 1}


def test_a_finish_reason_may_come_with_the_last_text() -> None:
    tally = Tally()
    choice = {"index": 0, "delta": {"content": "end"}, "finish_reason": "stop"}
    assert kinds_and_data(ChunkReader(tally).read(data_of({"choices": [choice]}))) == [
        ("delta", "end")
    ]
    assert tally.finish_reason == "stop"


def test_nothing_after_done_is_read() -> None:
    reader = ChunkReader(Tally())
    assert reader.read(b"[DONE]") == []
    assert reader.is_done
    assert reader.read(b"not json at all") == []


def test_an_empty_event_is_a_keep_alive() -> None:
    assert ChunkReader(Tally()).read(b"") == []


@given(st.lists(st.text(st.characters(codec="utf-8"), min_size=1)))
def test_the_checksum_is_of_the_utf8_of_all_text(texts: list[str]) -> None:
    tally = Tally()
    reader = ChunkReader(tally)
    for text in texts:
        reader.read(data_of(delta(content=text, reasoning="not counted")))
    whole = "".join(texts)
    assert tally.text == whole
    assert tally.sha256 == hashlib.sha256(whole.encode()).hexdigest()
    assert (tally.text, tally.deltas) == (whole, len(texts))


def test_a_tally_goes_on_from_kept_text() -> None:
    tally = Tally("Hé", kept_deltas=2)
    assert tally.has_output
    ChunkReader(tally).read(data_of(delta(content="llo")))
    assert (tally.text, tally.deltas) == ("Héllo", 3)
    assert tally.sha256 == hashlib.sha256("Héllo".encode()).hexdigest()


@pytest.mark.parametrize(
    ("fields", "has_output", "has_only_text"),
    [
        ({"role": "assistant", "content": ""}, False, True),
        ({"content": "a"}, True, True),
        ({"reasoning": "a"}, True, False),
        ({"refusal": "a"}, True, False),
        ({"tool_calls": [{"index": 0, "function": {"name": "f"}}]}, True, False),
    ],
)
def test_the_tally_knows_what_kind_of_output_there_was(
    fields: dict[str, Any], has_output: bool, has_only_text: bool
) -> None:
    tally = Tally()
    ChunkReader(tally).read(data_of(delta(**fields)))
    assert (tally.has_output, tally.has_only_text) == (has_output, has_only_text)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ({"message": "boom", "code": "server_error"}, UpstreamFault),
        ("boom", UpstreamFault),
        ({"code": 502, "message": "Bad gateway"}, UpstreamFault),
        ({"code": 429}, RateLimited),
        ({"code": "rate_limit_exceeded"}, RateLimited),
        ({"type": "rate_limit_error"}, RateLimited),
        ({"code": 400}, Rejected),
        ({"code": "20012"}, UpstreamFault),
        ({"code": None, "type": None}, UpstreamFault),
    ],
)
def test_an_error_in_the_stream_is_raised_as_what_it_is(
    error: object, expected: type[Exception]
) -> None:
    with pytest.raises(expected) as raised:
        read({"error": error})
    assert type(raised.value) is expected
    assert "boom" not in str(raised.value)


def test_a_finish_reason_of_error_is_a_failure_after_the_text_that_came_with_it() -> None:
    reader = ChunkReader(Tally())
    choice = {"index": 0, "delta": {"content": "ha"}, "finish_reason": "network_error"}
    assert kinds_and_data(reader.read(data_of({"choices": [choice]}))) == [("delta", "ha")]
    assert isinstance(reader.failure, UpstreamFault)
    assert "network_error" in reader.failure.message
    assert reader.is_done
    assert reader.tally.finish_reason is None


def test_a_character_cut_in_two_deltas_arrives_whole_in_the_second() -> None:
    pieces = read(delta(content="a" + HIGH), delta(content=LOW + "b"))
    assert kinds_and_data(pieces) == [("delta", "a"), ("delta", "😀b")]


def test_a_half_is_not_lost_to_a_chunk_that_decodes_quickly() -> None:
    assert kinds_and_data(read(delta(content=HIGH), delta(content="b"))) == [("delta", "\ufffdb")]


def test_halves_in_tool_arguments_are_joined_too() -> None:
    pieces = read(
        call(index=0, function={"name": "f", "arguments": HIGH}),
        call(index=0, function={"arguments": LOW}),
    )
    assert [(piece.data or {})["arguments"] for piece in pieces] == ["", "😀"]


def test_halves_left_at_the_end_are_replaced_and_counted() -> None:
    tally = Tally()
    reader = ChunkReader(tally)
    reader.read(data_of(delta(content="a" + HIGH)))
    reader.read(data_of(call(index=3, function={"name": "f", "arguments": HIGH})))
    assert kinds_and_data(reader.close()) == [
        ("delta", "\ufffd"),
        ("tool_call", {"index": 0, "arguments": "\ufffd"}),
    ]
    assert tally.text == "a\ufffd"
    assert reader.close() == []
