"""Bytes become the same events, wherever the network splits them."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickertape.client.events import Event, EventDecoder, StreamMalformed

STREAM = (
    b': hb\n\nid: 12-0\nevent: queued\ndata: {}\n\nevent: position\ndata: {"position":3}\n\n'
    b"retry: 1500\n\nid: 13-1\r\nevent: delta\r\n"
    b'data: {"text":"caf\xc3\xa9 \xe2\x80\xa8 \xf0\x9f\x98\x80"}\r\n\r\n'
    b'id: 13-2\nevent: completed\ndata: {"finish_reason":"stop"}\n\n'
)
EVENTS = [
    Event("queued", {}, "12-0"),
    Event("position", {"position": 3}),
    Event("delta", {"text": "café \u2028 😀"}, "13-1"),
    Event("completed", {"finish_reason": "stop"}, "13-2"),
]


@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_where_the_network_cuts_the_stream_does_not_matter(cuts: list[int]) -> None:
    decoder = EventDecoder()
    edges = [0, *sorted(cuts), len(STREAM)]
    pieces = [STREAM[begin:end] for begin, end in itertools.pairwise(edges)]
    assert [event for piece in pieces for event in decoder.feed(piece)] == EVENTS


def test_an_event_cut_off_by_the_end_is_dropped() -> None:
    decoder = EventDecoder()
    assert decoder.feed(b'id: 1-1\nevent: delta\ndata: {"text":"half"}\n') == []


def test_the_wait_that_the_server_asks_for_is_kept() -> None:
    decoder = EventDecoder()
    decoder.feed(STREAM)
    assert decoder.retry_s == 1.5


@pytest.mark.parametrize(
    "garbage",
    [b"data: <html>\n\n", b"data: [1]\n\n", b"data: \xff\n\n"],
    ids=["no JSON", "no object", "no UTF-8"],
)
def test_bytes_that_are_not_a_native_stream_are_reported(garbage: bytes) -> None:
    with pytest.raises(StreamMalformed):
        EventDecoder().feed(garbage)


def test_data_over_several_lines_is_one_event() -> None:
    assert EventDecoder().feed(b'event: delta\ndata: {"text":\ndata: "x"}\n\n') == [
        Event("delta", {"text": "x"})
    ]
