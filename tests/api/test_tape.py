"""A tape is a contiguous prefix of a log, whatever order its entries come in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickertape.api.fanout.tape import Tape, Verdict
from tickertape.api.protocols.native.text_wire import TextWire
from tickertape.api.protocols.native.wire import NativeWire
from tickertape.broker.codec import START, Cursor, encode_data, encode_text
from tickertape.broker.errors import EntryMalformed
from tickertape.broker.kinds import EntryKind

QUEUED = (Cursor(100, 0), encode_data("queued", {"v": 1}))


def opener(kind: EntryKind, attempt: int, prev: Cursor) -> tuple[Cursor, bytes]:
    return Cursor(attempt, 0), encode_data(kind, {"v": 1, "prev": str(prev), "n": 1})


def delta(attempt: int, seq: int, text: str = "x") -> tuple[Cursor, bytes]:
    return Cursor(attempt, seq), encode_text("delta", text)


def log_with_a_reset() -> list[tuple[Cursor, bytes]]:
    return [
        QUEUED,
        opener("started", 200, Cursor(100, 0)),
        delta(200, 1, "a"),
        delta(200, 2, "b"),
        opener("reset", 300, Cursor(200, 2)),
        delta(300, 1, "c"),
        (Cursor(300, 2), encode_data("completed", {"finish_reason": "stop"})),
    ]


def filled(log: list[tuple[Cursor, bytes]]) -> Tape:
    tape = Tape("r0_x")
    for cursor, value in log:
        assert tape.offer(cursor, value) is Verdict.TAKEN
    return tape


def test_a_tape_accepts_a_log_in_order() -> None:
    tape = filled(log_with_a_reset())
    assert tape.last == Cursor(300, 2)
    assert tape.is_over
    assert [entry.cursor for entry in tape.entries()] == [c for c, _ in log_with_a_reset()]


def test_another_entry_under_the_last_id_is_a_gap() -> None:
    tape = filled(log_with_a_reset()[:4])
    assert tape.offer(Cursor(200, 2), encode_data("cancelled", {})) is Verdict.GAP


def test_an_entry_that_is_pushed_twice_is_added_once() -> None:
    tape = filled(log_with_a_reset()[:4])
    assert tape.offer(*delta(200, 2, "b")) is Verdict.OLD
    assert len(tape.values) == 4


def test_a_lost_push_shows_as_a_gap() -> None:
    tape = filled(log_with_a_reset()[:2])
    assert tape.offer(*delta(200, 2)) is Verdict.GAP
    assert tape.last == Cursor(200, 0)


def test_an_opener_whose_predecessor_was_not_seen_shows_as_a_gap() -> None:
    tape = filled(log_with_a_reset()[:3])
    assert tape.offer(*opener("reset", 300, Cursor(200, 2))) is Verdict.GAP


def test_a_newer_attempt_without_its_opener_shows_as_a_gap() -> None:
    tape = filled(log_with_a_reset()[:4])
    assert tape.offer(*delta(300, 1)) is Verdict.GAP


def test_only_queued_begins_a_log_unless_its_head_was_trimmed() -> None:
    tape = Tape("r0_x")
    assert tape.offer(*delta(200, 7)) is Verdict.GAP
    assert tape.offer(*delta(200, 7), is_first=True) is Verdict.TAKEN
    assert tape.offer(*delta(200, 8)) is Verdict.TAKEN
    assert tape.position_after(Cursor(200, 7)) == 1


def test_a_cursor_is_valid_only_if_that_very_entry_exists() -> None:
    tape = filled(log_with_a_reset())
    assert tape.position_after(Cursor(200, 2)) == 4
    assert tape.position_after(Cursor(300, 0)) == 5
    assert tape.position_after(Cursor(200, 3)) is None
    assert tape.position_after(Cursor(250, 0)) is None
    assert tape.position_after(Cursor(300, 9)) is None
    assert tape.position_after(START) is None


def test_nothing_follows_a_terminal_whoever_wrote_it() -> None:
    tape = filled(log_with_a_reset())
    rendering = tape.rendering("native", NativeWire)
    whole = list(rendering.frames)
    # A writer that ignores the fence adds entries to the same attempt, and as another attempt.
    for entry in (delta(300, 3), (Cursor(300, 4), encode_data("completed", {})), delta(400, 1)):
        assert tape.offer(*entry) is Verdict.OLD
    assert tape.last == Cursor(300, 2)
    assert tape.is_over
    assert list(rendering.frames) == whole


def test_a_rendering_that_is_made_late_has_the_same_frames_as_a_live_one() -> None:
    log = log_with_a_reset()
    early = Tape("r0_x")
    rendering = early.rendering("native", NativeWire)
    for cursor, value in log:
        early.offer(cursor, value)
    assert list(filled(log).rendering("native", NativeWire).frames) == list(rendering.frames)


def test_raw_text_is_cut_where_bytes_that_were_sent_would_have_to_be_taken_back() -> None:
    rendering = filled(log_with_a_reset()).rendering("text", TextWire)
    assert b"".join(rendering.frames) == b"ab"
    assert rendering.is_cut


def test_raw_text_continues_over_a_new_attempt_before_any_byte() -> None:
    log = [
        QUEUED,
        opener("started", 200, Cursor(100, 0)),
        opener("started", 300, Cursor(200, 0)),
        delta(300, 1, "hé"),
        (Cursor(300, 2), encode_data("completed", {})),
    ]
    rendering = filled(log).rendering("text", TextWire)
    assert b"".join(rendering.frames) == "hé".encode()
    assert not rendering.is_cut


@given(st.lists(st.integers(min_value=0, max_value=6), max_size=60))
def test_a_tape_has_no_gap_and_no_repeat_in_any_order_of_pushes(order: list[int]) -> None:
    log = log_with_a_reset()
    tape = Tape("r0_x")
    for index in order:
        tape.offer(*log[index])
    taken = [entry.cursor for entry in tape.entries()]
    assert taken == [cursor for cursor, _ in log[: len(taken)]]


def test_clearing_a_tape_starts_all_its_renderings_over() -> None:
    tape = filled(log_with_a_reset())
    rendering = tape.rendering("native", NativeWire)
    tape.clear()
    assert not rendering.frames
    assert tape.offer(*QUEUED) is Verdict.TAKEN
    assert len(rendering.frames) == 1


@pytest.mark.parametrize("text", ["", "a\nb\r\n\u2028", "data: x\n\n", "\x00", "你好 🎉"])
def test_a_native_frame_is_one_event_for_any_text(text: str) -> None:
    tape = filled(log_with_a_reset()[:2])
    rendering = tape.rendering("native", NativeWire)
    tape.offer(*delta(200, 1, text))
    frame = rendering.frames[-1]
    assert isinstance(frame, bytes)
    assert frame.startswith(b"id: 200-1\nevent: delta\ndata: {")
    assert frame.endswith(b"}\n\n")
    assert frame.count(b"\n") == 4


def test_an_unreadable_entry_changes_nothing_on_a_tape() -> None:
    tape = filled(log_with_a_reset()[:3])
    with pytest.raises(EntryMalformed):
        tape.offer(Cursor(200, 2), b"\x00nonsense")
    assert tape.offer(*delta(200, 2, "b")) is Verdict.TAKEN
    assert len(tape.entries()) == 4


def test_an_entry_of_a_later_version_takes_its_position_and_shows_nothing() -> None:
    log = log_with_a_reset()
    log.insert(3, (Cursor(200, 2), b"vthe future"))
    log[4] = delta(200, 3, "b")
    log[5] = opener("reset", 300, Cursor(200, 3))
    tape = filled(log)
    rendering = tape.rendering("native", NativeWire)
    assert rendering.frames[3] == b""
    assert len(rendering.frames) == len(log)
    assert tape.position_after(Cursor(200, 2)) == 4
    assert [entry.kind for entry in tape.entries()][3] == "unknown"
    assert tape.is_over


def test_an_attempt_that_a_later_version_opened_follows_the_entry_that_its_opener_names() -> None:
    tape = filled([QUEUED])
    value = b'w{"prev":"100-0"}'
    assert tape.offer(Cursor(200, 0), b'w{"prev":"99-0"}') is Verdict.GAP
    assert tape.offer(Cursor(200, 0), value) is Verdict.TAKEN
    assert tape.is_queued
    assert tape.offer(*delta(200, 1)) is Verdict.TAKEN
    assert not tape.is_queued


def test_an_unknown_entry_that_opens_an_attempt_and_names_no_entry_is_foreign() -> None:
    tape = filled([QUEUED])
    with pytest.raises(EntryMalformed):
        tape.offer(Cursor(200, 0), b"w")
