"""The raw text wire: the deltas' text, and a cut, so that a partial text is never complete."""

import pytest

from tickertape.api.fanout.wire import CUT, Frame
from tickertape.api.protocols.native.text_wire import TextWire
from tickertape.broker.codec import Cursor, Entry
from tickertape.broker.kinds import EntryKind

AT = Cursor(1, 0)


def frames(*entries: Entry) -> list[Frame]:
    wire = TextWire()
    return [wire.frame(entry) for entry in entries]


def delta(text: str) -> Entry:
    return Entry(AT, "delta", text)


def test_raw_text_has_only_the_text_of_deltas() -> None:
    quiet = [Entry(AT, kind) for kind in ("queued", "started", "tool_call")]
    thought = Entry(AT, "reasoning", "hm")
    end = Entry(AT, "completed")
    sent = frames(*quiet, thought, delta("Grüße"), end)
    assert sent == [b"", b"", b"", b"", "Grüße".encode(), b""]


@pytest.mark.parametrize("kind", ["started", "reset", "failed"])
def test_raw_text_is_cut_when_text_that_was_sent_is_discarded(kind: EntryKind) -> None:
    assert frames(delta("half"), Entry(AT, kind)) == [b"half", CUT]


@pytest.mark.parametrize("kind", ["started", "reset"])
def test_raw_text_is_not_cut_when_an_attempt_without_text_is_discarded(kind: EntryKind) -> None:
    assert frames(delta(""), Entry(AT, kind), delta("all")) == [b"", b"", b"all"]


def test_raw_text_is_not_cut_when_an_attempt_continues_the_text() -> None:
    assert frames(delta("Hel"), Entry(AT, "resumed"), delta("lo")) == [b"Hel", b"", b"lo"]


def test_raw_text_is_cut_at_a_failure_before_any_text() -> None:
    assert frames(Entry(AT, "failed")) == [CUT]


@pytest.mark.parametrize("kind", ["gone", "rewind", "position", "waiting"])
def test_raw_text_shows_only_the_answer(kind: str) -> None:
    assert TextWire().notice(kind, {"position": 1}) == b""
