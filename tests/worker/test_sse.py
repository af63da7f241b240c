"""The first examples are the standard's.

https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
"""

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickertape.worker.upstream.errors import UpstreamGarbage
from tickertape.worker.upstream.sse import ErrorData, SSEDecoder


def decoded(*segments: bytes) -> list[bytes]:
    decoder = SSEDecoder()
    return [data for segment in segments for data in decoder.feed(segment)]


def decoded_by_the_book(stream: bytes) -> list[bytes]:
    """The standard's algorithm, line by line over the whole stream."""
    lines = re.split(rb"\r\n|\r|\n", stream.removeprefix(b"\xef\xbb\xbf"))
    found: list[bytes] = []
    values: list[bytes] = []
    for line in lines[:-1]:  # what follows the last line end is no line yet
        if line == b"":
            if values:
                found.append(b"\n".join(values))
            values = []
        name, _, value = line.partition(b":")
        if name == b"data":
            values.append(value.removeprefix(b" "))
    return found


OTHER_LINE_ENDS = "a\u2028b\u2029c\x85d\x0be\x0cf\x1c".encode()


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        pytest.param(b"data: YHOO\ndata: +2\ndata: 10\n\n", [b"YHOO\n+2\n10"], id="several lines"),
        pytest.param(
            b": test stream\n\ndata: first event\nid: 1\n\n"
            b"data:second event\nid\n\ndata:  third event",
            [b"first event", b"second event"],
            id="a comment, ids, and an end without its blank line",
        ),
        pytest.param(b"data\n\ndata\ndata\n\ndata:", [b"", b"\n"], id="a field without a colon"),
        pytest.param(b"data:test\n\ndata: test\n\n", [b"test", b"test"], id="one space is dropped"),
        pytest.param(b"data:  two\n\n", [b" two"], id="only one"),
        pytest.param(b"event: ping\nretry: 10\n\n", [], id="no data, no event"),
        pytest.param(
            b"event: error\ndata: a\ndata: b\n\nevent: end\ndata: c\n\n",
            [ErrorData(b"a\nb"), b"c"],
            id="an error by name",
        ),
        pytest.param(b"data: a\nevent:error\n\n", [ErrorData(b"a")], id="its name last"),
        pytest.param(b"datax: 1\ndat: 2\n data: 3\n\n", [], id="names must match whole"),
        pytest.param(b"\xef\xbb\xbfdata: x\n\n", [b"x"], id="a byte order mark"),
        pytest.param(b"data: x\n\n\xef\xbb\xbfdata: y\n\n", [b"x"], id="only at the start"),
        pytest.param(b"\n\n\ndata: x\n\n\n\n", [b"x"], id="blank lines around"),
        pytest.param(b"data: a: b\n\n", [b"a: b"], id="a colon in the value"),
        pytest.param(
            b"data: " + OTHER_LINE_ENDS + b"\n\n",
            [OTHER_LINE_ENDS],
            id="only CR and LF end a line",
        ),
    ],
)
def test_events_are_read_as_the_standard_demands(stream: bytes, expected: list[bytes]) -> None:
    assert decoded(stream) == expected
    assert [type(data) for data in decoded(stream)] == [type(data) for data in expected]
    assert decoded(*(bytes([byte]) for byte in stream)) == expected
    assert decoded_by_the_book(stream) == expected


def test_a_field_named_error_is_an_error_too() -> None:
    # https://github.com/coddy-project/coddy-agent/pull/106
    found = decoded(b'data: a\n\nerror: {"code":400}\n\ndata: [DONE]\n\n')
    assert found == [b"a", b'{"code":400}', b"[DONE]"]
    assert [type(data) for data in found] == [bytes, ErrorData, bytes]


@pytest.mark.parametrize("eol", [b"\n", b"\r", b"\r\n"])
def test_every_line_end_is_understood(eol: bytes) -> None:
    stream = eol.join([b"data: a", b"data: b", b"", b": comment", b"", b"data: c", b"", b""])
    assert decoded(stream) == [b"a\nb", b"c"]


def test_a_crlf_cut_between_two_segments_is_one_line_end() -> None:
    assert decoded(b"data: a\r", b"\ndata: b\r", b"\n\r", b"\n") == [b"a\nb"]


def test_an_event_is_handed_out_as_soon_as_its_blank_line_began() -> None:
    decoder = SSEDecoder()
    assert decoder.feed(b"data: a\r\n\r") == [b"a"]
    assert decoder.feed(b"\ndata: b\n\n") == [b"b"]


def test_many_events_in_one_segment_keep_their_order() -> None:
    assert decoded(b"".join(b"data: %d\n\n" % n for n in range(100))) == [
        b"%d" % n for n in range(100)
    ]


@pytest.mark.parametrize(
    ("tail", "rest"),
    [
        (b"data: b", [b"b"]),
        (b"data: b\r\n", [b"b"]),
        (b"event: x\ndata: b\ndata: c", [b"b\nc"]),
        (b": comment", []),
        (b"dat", []),
        (b"", []),
    ],
)
def test_a_last_event_without_its_blank_line_is_handed_out_at_the_end(
    tail: bytes, rest: list[bytes]
) -> None:
    decoder = SSEDecoder()
    assert decoder.feed(b"data: a\n\n" + tail) == [b"a"]
    assert decoder.close() == rest
    assert decoder.close() == []


def test_an_event_that_never_ends_is_refused() -> None:
    decoder = SSEDecoder(max_event_bytes=100)
    assert decoder.feed(b"data: " + b"x" * 94) == []
    with pytest.raises(UpstreamGarbage):
        decoder.feed(b"x")


def test_the_bound_is_on_one_event_not_on_the_stream() -> None:
    decoder = SSEDecoder(max_event_bytes=100)
    for _ in range(10):
        assert decoder.feed(b"data: " + b"x" * 80) == []
        assert len(decoder.feed(b"\n\n")) == 1


LINES = st.sampled_from(
    [
        b"data: a",
        b"data:b",
        b"data",
        b": c",
        b"event: error",
        b"id: 1",
        b"",
        b"",
        b"",
        b"\xef\xbb\xbf",
    ]
)
LINE_ENDS = st.sampled_from([b"\n", b"\n", b"\r", b"\r\n"])
STREAMS = st.one_of(
    st.lists(st.tuples(LINES, LINE_ENDS)).map(lambda pairs: b"".join(a + b for a, b in pairs)),
    st.text("da:t \r\n\u2028é", max_size=60).map(str.encode),
    st.binary(max_size=60),
)


@given(STREAMS, st.lists(st.integers(0, 200)))
def test_the_events_do_not_depend_on_where_the_bytes_are_cut(
    stream: bytes, cuts: list[int]
) -> None:
    edges = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    segments = [stream[a:b] for a, b in pairwise(edges)]
    assert decoded(*segments) == decoded_by_the_book(stream)
    assert decoded(stream) == decoded_by_the_book(stream)
