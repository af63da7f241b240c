"""Segments: fewer items, the same entries, and a text that version 0.1 reads."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.wires.logs import logs
from tickertape.broker.codec import Cursor, Entry, decode, encode_data, encode_text
from tickertape.broker.errors import EntryMalformed
from tickertape.broker.fold import Answer, fold
from tickertape.broker.segments import Segment, SegmentMaker, Stored, entries_of

BEGIN = 1_767_225_600_000
ANY_LOG = logs(("resumed", "reset"))


def stored(entries: list[Entry]) -> list[Stored]:
    return [
        (
            entry.cursor,
            encode_text(entry.kind, entry.text, entry.x)
            if entry.kind in {"delta", "reasoning", "refusal"}
            else encode_data(entry.kind, entry.data),
        )
        for entry in entries
    ]


def compacted(log: list[Stored]) -> list[Segment]:
    maker = SegmentMaker()
    for cursor, value in log:
        maker.add(cursor, value)
    return maker.finish()


def attempt(*values: bytes) -> list[Stored]:
    """A whole log of one attempt with this output."""
    whole = [encode_data("started", {"n": 1}), *values, encode_data("completed", {})]
    return [
        (Cursor(BEGIN - 1, 0), encode_data("queued", {"v": 1})),
        *((Cursor(BEGIN, seq), value) for seq, value in enumerate(whole)),
    ]


@given(entries=ANY_LOG)
def test_a_compacted_log_gives_back_every_entry(entries: list[Entry]) -> None:
    log = stored(entries)
    segments = compacted(log)
    assert [entry for segment in segments for entry in entries_of(segment)] == log
    assert all(before.last < segment.last for before, segment in pairwise(segments))


@given(entries=ANY_LOG)
def test_the_segments_alone_have_the_same_output(entries: list[Entry]) -> None:
    assume(entries[-1].is_terminal)
    whole = fold(entries)
    seen = fold([decode(segment.last, segment.value) for segment in compacted(stored(entries))])
    for name in ("text", "reasoning", "refusal"):
        assert "".join(getattr(seen, name)) == "".join(getattr(whole, name))
    assert (seen.status, seen.end) == (whole.status, whole.end)
    assert without_x(seen) == without_x(whole)


def without_x(answer: Answer) -> list[dict[str, Any]]:
    """The calls; provider fields of a call that change their type depend on the pieces."""
    return [{**call, "x": None} for call in answer.tool_calls.values()]


def test_a_run_of_deltas_is_one_segment_with_the_id_of_the_last() -> None:
    log = attempt(*(encode_text("delta", f"{n} é") for n in range(500)))
    segments = compacted(log)
    assert [segment.last for segment in segments] == [
        Cursor(BEGIN - 1, 0), Cursor(BEGIN, 500), Cursor(BEGIN, 501),
    ]  # fmt: skip
    text = "".join(f"{n} é" for n in range(500))
    assert segments[1].value == b"d" + text.encode()
    assert len(segments[1].parts) < 1.2 * 500


def test_the_arguments_of_a_call_are_one_segment() -> None:
    begin = encode_data("tool_call", {"index": 0, "id": "call_1", "name": "f", "arguments": ""})
    pieces = [encode_data("tool_call", {"index": 0, "arguments": f'"{n}\u2028'}) for n in range(99)]
    other = encode_data("tool_call", {"index": 1, "id": "call_2", "name": "g", "arguments": "{}"})
    log = attempt(begin, *pieces, other)
    segments = compacted(log)
    assert [entry for segment in segments for entry in entries_of(segment)] == log
    assert [segment.last.seq for segment in segments[1:]] == [100, 101, 102]
    assert len(segments[1].parts) < 300


@given(st.binary(max_size=20), st.sampled_from([b"dtext", b"t{}", b"", b"?", b"r\xff", b"tx"]))
def test_a_segment_without_readable_parts_is_malformed(parts: bytes, value: bytes) -> None:
    try:
        list(entries_of(Segment(Cursor(BEGIN, 3), value, parts)))
    except EntryMalformed:
        return
    assert not parts or parts[0] in {*range(0x90, 0xA0), 0xDC, 0xDD}


def test_a_piece_that_is_no_text_is_malformed() -> None:
    call = encode_data("tool_call", {"index": 0, "arguments": "é"})
    with pytest.raises(EntryMalformed):
        list(entries_of(Segment(Cursor(BEGIN, 3), call, b"\x92\x01\x01")))
