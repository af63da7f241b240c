"""`Frames` behaves as a list of frames, although it stores them in blocks."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickertape.api.fanout.frames import Frames
from tickertape.api.fanout.http_chunk import chunk

FRAMES_PER_BLOCK, BLOCK_BYTES = 4, 60


@pytest.fixture(autouse=True, scope="module")
def small_blocks() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tickertape.api.fanout.frames.FRAMES_PER_BLOCK", FRAMES_PER_BLOCK)
        patch.setattr("tickertape.api.fanout.frames.BLOCK_BYTES", BLOCK_BYTES)
        yield


@st.composite
def kept(draw: st.DrawFn) -> tuple[Frames, list[bytes]]:
    """`Frames`, some of them empty, and the same frames as a list."""
    listed = draw(st.lists(st.sampled_from([b"", b"a", b"bc" * 20]), max_size=14))
    frames = Frames()
    for frame in listed:
        frames.append(frame)
    if draw(st.booleans()):
        frames.close_block()
    return frames, listed


@given(kept())
def test_frames_are_returned_as_they_were_appended(both: tuple[Frames, list[bytes]]) -> None:
    frames, listed = both
    assert len(frames) == len(listed)
    assert list(frames) == listed


@given(kept(), st.data())
def test_a_range_of_frames_equals_the_same_slice_of_a_list(
    both: tuple[Frames, list[bytes]], data: st.DataObject
) -> None:
    frames, listed = both
    begin = data.draw(st.integers(0, len(listed)))
    end = data.draw(st.integers(begin, len(listed)))
    assert frames.between(begin, end) == b"".join(listed[begin:end])


@given(kept())
def test_a_walk_over_the_stops_covers_every_frame(both: tuple[Frames, list[bytes]]) -> None:
    frames, listed = both
    position, walked = 0, b""
    while position < len(frames):
        begin, position = position, frames.stop_after(position)
        walked += frames.between(begin, position)
    assert walked == b"".join(listed)


@given(kept(), st.data())
def test_chunks_cover_every_frame_between_any_two_positions(
    both: tuple[Frames, list[bytes]], data: st.DataObject
) -> None:
    frames, listed = both
    position = begin = data.draw(st.integers(0, len(listed)))
    end = data.draw(st.integers(begin, len(listed)))
    body = b""
    while position < end:
        piece, position, _ = frames.chunk_from(position, end)
        body += piece
    assert position == end
    assert _unchunked(body) == b"".join(listed[begin:end])


def test_readers_of_a_whole_block_share_one_bytes_object() -> None:
    frames = Frames()
    for number in range(FRAMES_PER_BLOCK + 1):
        frames.append(b"%d" % number)
    first, position, is_shared = frames.chunk_from(0, len(frames))
    assert first is frames.chunk_from(0, len(frames))[0]
    assert is_shared
    assert position == FRAMES_PER_BLOCK
    assert not frames.chunk_from(position, len(frames))[2]
    frames.close_block()
    last, _, is_shared = frames.chunk_from(position, len(frames))
    assert last is frames.chunk_from(position, len(frames))[0]
    assert is_shared


def test_readers_of_one_huge_frame_of_a_log_that_goes_on_share_one_bytes_object() -> None:
    frames = Frames()
    for frame in (b"a", b"b" * BLOCK_BYTES, b"c"):
        frames.append(frame)
    first, position, _ = frames.chunk_from(0, len(frames))
    assert position == 2
    assert first is frames.chunk_from(0, len(frames))[0]
    assert first is frames.chunk_between(0, 2)
    assert frames.between(0, 3) == b"a" + b"b" * BLOCK_BYTES + b"c"


def test_there_is_no_frame_beyond_the_last() -> None:
    frames = Frames()
    frames.append(b"a")
    with pytest.raises(IndexError):
        frames[1]


def test_an_empty_range_makes_no_chunk_because_that_would_end_the_response() -> None:
    assert chunk(b"") == b""


def _unchunked(body: bytes) -> bytes:
    """The body that a client decodes from chunks."""
    whole = b""
    while body:
        size, _, body = body.partition(b"\r\n")
        length = int(size, 16)
        assert body[length : length + 2] == b"\r\n"
        whole += body[:length]
        body = body[length + 2 :]
    return whole
