"""Chunks that are not as OpenAI's: what can be read is read, the rest is refused."""

import contextlib
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickertape.worker.upstream.chunks import ChunkReader
from tickertape.worker.upstream.errors import UpstreamGarbage
from tickertape.worker.upstream.pieces import Piece
from tickertape.worker.upstream.tally import Tally


def data_of(payload: object) -> bytes:
    return json.dumps(payload).encode()


def delta(**fields: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": fields}]}


def call(**fields: Any) -> dict[str, Any]:
    return delta(tool_calls=[fields])


def kinds_and_data(pieces: list[Piece]) -> list[tuple[str, object]]:
    return [(piece.kind, piece.data or piece.text) for piece in pieces]


@pytest.mark.parametrize(
    "data",
    [
        b"{",
        b"<html>",
        b"[]",
        b'"text"',
        b"null",
        b"1e999999",
        b"[" * 100_000,
        b'{"usage":' + b'{"a":' * 100_000,
        b'{"choices":[{"delta":{"content":5}}]}',
        b'{"choices":[{"delta":{"content":["a"]}}]}',
        b'{"choices":[{"delta":{"content":[{"type":"text","text":5}]}}]}',
        b'{"choices":[{"delta":{"reasoning":{}}}]}',
        b'{"choices":[{"delta":{"tool_calls":["a"]}}]}',
        b'{"choices":[{"delta":{"tool_calls":[{"function":{"arguments":5}}]}}]}',
    ],
)
def test_data_that_is_not_a_chunk_is_refused_without_quoting_it(data: bytes) -> None:
    with pytest.raises(UpstreamGarbage) as raised:
        ChunkReader(Tally()).read(data)
    assert raised.value.__cause__ is None
    assert len(str(raised.value)) < 100


@given(st.binary(max_size=200))
def test_no_bytes_make_it_crash(data: bytes) -> None:
    with contextlib.suppress(UpstreamGarbage):
        ChunkReader(Tally()).read(data)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["index", "delta", "content", "tool_calls", "function", "arguments", "logprobs"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(st.lists(JSON, max_size=2), JSON, JSON)
def test_no_shape_makes_it_crash_and_what_comes_out_can_be_encoded(
    choices: list[object], usage: object, model: object
) -> None:
    tally = Tally()
    payload = {"choices": choices, "usage": usage, "model": model}
    try:
        pieces = ChunkReader(tally).read(data_of(payload))
    except UpstreamGarbage:
        return
    for piece in pieces:
        msgspec.json.encode([piece.text, piece.data, piece.x])
    msgspec.json.encode(tally.usage)


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (delta(content="a") | {"usage": "none", "model": 5}, [("delta", "a")]),
        ({"choices": [{"index": "0", "delta": {"content": "a"}}]}, [("delta", "a")]),
        ({"choices": [{"delta": {"content": "a"}, "logprobs": []}]}, [("delta", "a")]),
        ({"choices": ["odd", {"delta": {"content": "a"}}]}, [("delta", "a")]),
        ({"choices": {"delta": {}}}, []),
        ({"choices": [{"delta": "odd"}]}, []),
        (delta(content="a", tool_calls={"odd": 1}), [("delta", "a")]),
        (
            call(index="0", id=7, function={"name": "f", "arguments": {"q": "é"}}),
            [
                (
                    "tool_call",
                    {"index": 0, "id": "call__0", "name": "f", "arguments": '{"q": "é"}'},
                )
            ],
        ),
        (
            delta(
                content=[
                    {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
                    {"type": "text", "text": "Hi"},
                    {"type": "reference", "reference_ids": [1]},
                ]
            ),
            [("reasoning", "hm"), ("delta", "Hi")],
        ),
    ],
)
def test_a_chunk_of_another_shape_is_read_patiently(
    payload: object, expected: list[object]
) -> None:
    assert kinds_and_data(ChunkReader(Tally()).read(data_of(payload))) == expected


def test_bytes_that_are_no_utf8_lose_a_character_and_not_the_answer() -> None:
    pieces = ChunkReader(Tally()).read(b'{"choices":[{"delta":{"content":"a\xffb"}}]}')
    assert kinds_and_data(pieces) == [("delta", "a\ufffdb")]
