"""Entries, cursors and pushes survive the way to bytes and back; nothing else is taken for one."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tickertape.broker import kinds
from tickertape.broker.codec import (
    Cursor,
    Entry,
    Notice,
    Pushed,
    decode,
    encode_data,
    encode_text,
    unpack,
)
from tickertape.broker.errors import CursorMalformed, EntryMalformed
from tickertape.broker.kinds import EntryKind, TextOutput

TEXT_KINDS: list[TextOutput] = sorted({"delta", "reasoning", "refusal"})
DATA_KINDS: list[EntryKind] = [
    "queued", "started", "reset", "resumed", "tool_call", "tool_result", "data", "completed",
    "failed", "cancelled",
]  # fmt: skip
AT = Cursor(1_732_300_000_000, 12)

texts = st.text(st.characters(exclude_categories=["Cs"]))
numbers = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
json_values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
json_objects = st.dictionaries(texts, json_values, max_size=4)
cursors = st.builds(Cursor, st.integers(0, 10**16 - 1), st.integers(0, 10**10 - 1))


def netstring(value: bytes) -> bytes:
    return b"%d:%b" % (len(value), value)


@given(kind=st.sampled_from(TEXT_KINDS), text=texts)
@example(kind="delta", text="")
@example(kind="delta", text='a\x00b\r\n{"text":"not json"}')
@example(kind="reasoning", text="naïve 🙂 \u2028 שלום")
def test_any_text_comes_back_as_it_was(kind: TextOutput, text: str) -> None:
    entry = decode(AT, encode_text(kind, text))
    assert (entry.cursor, entry.kind, entry.text, entry.data, entry.x) == (AT, kind, text, {}, None)


@given(kind=st.sampled_from(TEXT_KINDS), text=texts, x=json_objects.filter(bool))
def test_provider_fields_travel_next_to_the_text(
    kind: TextOutput, text: str, x: dict[str, object]
) -> None:
    entry = decode(AT, encode_text(kind, text, x))
    assert (entry.kind, entry.text, entry.x) == (kind, text, x)


@given(kind=st.sampled_from(DATA_KINDS), data=json_objects)
def test_any_data_comes_back_as_it_was(kind: EntryKind, data: dict[str, object]) -> None:
    entry = decode(AT, encode_data(kind, data))
    assert (entry.kind, entry.text, entry.data, entry.x) == (kind, "", data, None)


def test_no_provider_fields_cost_no_bytes() -> None:
    assert encode_text("delta", "hi", {}) == encode_text("delta", "hi") == b"dhi"


def test_every_kind_has_a_distinct_value() -> None:
    values = {encode_text(kind, "a") for kind in TEXT_KINDS}
    values |= {encode_text(kind, "a", {"b": 1}) for kind in TEXT_KINDS}
    values |= {encode_data(kind, {}) for kind in DATA_KINDS}
    assert len({value[:1] for value in values}) == 2 * len(TEXT_KINDS) + len(DATA_KINDS)


def test_the_kinds_of_openers_terminals_and_output_are_disjoint() -> None:
    called = {"tool_call", "tool_result", "data"}
    assert {*TEXT_KINDS} | called == kinds.OUTPUT
    assert set(DATA_KINDS) == kinds.OPENERS | kinds.TERMINALS | {"queued"} | called
    for kind in DATA_KINDS:
        assert decode(AT, encode_data(kind, {})).is_terminal == (kind in kinds.TERMINALS)


@pytest.mark.parametrize("text", ["\ud800", "a\udfffb"])
def test_text_that_is_not_unicode_is_refused_before_it_is_stored(text: str) -> None:
    with pytest.raises(UnicodeEncodeError):
        encode_text("delta", text)
    with pytest.raises(UnicodeEncodeError):
        encode_text("delta", text, {"logprobs": None})


@given(value=st.binary())
@example(value=b"")
@example(value=b"?from the future")
@example(value=b"d\xff")
@example(value=b"Q[]")
@example(value=b"Qnull")
@example(value=b'D{"text":"a"}')
@example(value=b'D{"x":{}}')
@example(value=b'D{"text":1,"x":{}}')
@example(value=b'D{"text":"a","x":[]}')
@example(value=b'Q{"a":' + b"[" * 100_000)
def test_a_stored_value_is_an_entry_or_malformed(value: bytes) -> None:
    try:
        entry = decode(AT, value)
    except EntryMalformed:
        return
    known = kinds.OUTPUT | kinds.OPENERS | kinds.TERMINALS | {"queued"}
    assert entry.kind in known | {"unknown"}
    assert isinstance(entry.text, str)
    assert isinstance(entry.data, dict)
    assert entry.x is None or isinstance(entry.x, dict)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"\x00",
        b"\x7f",
        b"\xff",
        b"d\xff",
        b"Q",
        b"Q[]",
        b'D{"text":1,"x":{}}',
        b'D{"text":"a","x":[]}',
        b'D{"text":"a"}',
        b'Q{"a":' + b"[" * 100_000,
    ],
)
def test_what_no_version_writes_is_malformed(value: bytes) -> None:
    with pytest.raises(EntryMalformed):
        decode(AT, value)


@given(cursor=cursors)
def test_a_cursor_comes_back_as_it_was(cursor: Cursor) -> None:
    assert Cursor.parse(str(cursor)) == Cursor.parse(str(cursor).encode()) == cursor


@given(left=cursors, right=cursors)
def test_cursors_are_ordered_as_two_numbers(left: Cursor, right: Cursor) -> None:
    by_number = (left.attempt, left.seq) < (right.attempt, right.seq)
    assert (Cursor.parse(str(left)) < Cursor.parse(str(right))) == by_number
    assert left < left.next()
    assert left.next() == Cursor(left.attempt, left.seq + 1)


@given(text=st.text() | st.binary())
@example(text="")
@example(text="1732300000000")
@example(text="1-2-3")
@example(text=" 1-2")
@example(text="1-2\n")
@example(text="-1-2")
@example(text="1-٢")
@example(text="99999999999999999-0")
@example(text="1-99999999999")
@example(text=b"1-2\xff")
@example(text="$")
def test_a_text_is_a_cursor_or_malformed(text: str | bytes) -> None:
    try:
        cursor = Cursor.parse(text)
    except CursorMalformed:
        return
    assert 0 <= cursor.attempt < 10**16
    assert 0 <= cursor.seq < 10**10


@pytest.mark.parametrize("text", ["", "1", "1-", "-1", "1-2\n", "+1-2", "1-٢", "0x1-1", b"1-2\xff"])
def test_a_malformed_cursor_is_said_to_be_one(text: str | bytes) -> None:
    with pytest.raises(CursorMalformed, match="1732300000000-12"):
        Cursor.parse(text)


@given(first=cursors, values=st.lists(st.binary(), min_size=1, max_size=5))
def test_pushed_entries_come_back_as_they_were(first: Cursor, values: list[bytes]) -> None:
    message = str(first).encode() + b"\n" + b"".join(map(netstring, values))
    assert unpack(message) == Pushed(first, values)


@given(
    kind=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n")),
    data=json_objects,
)
def test_a_notice_comes_back_as_it_was(kind: str, data: dict[str, object]) -> None:
    message = b"~" + kind.encode() + encode_data("queued", data).replace(b"Q", b"\n", 1)
    assert unpack(message) == Notice(kind, data)


@given(message=st.binary() | st.binary().map(lambda body: b"5-0\n" + body))
@example(message=b"")
@example(message=b"5-0\n-3:")
@example(message=b"5-0\n-2:a")
@example(message=b"5-0\n+1:a")
@example(message=b"5-0\n1_0:aaaaaaaaaa")
@example(message=b"5-0\n" + b"9" * 5000 + b":a")
@example(message=b"~waiting\n" + b'{"a":' * 100_000)
@example(message=b"~\xff\n{}")
def test_a_message_is_a_push_or_malformed(message: bytes) -> None:
    try:
        pushed = unpack(message)
    except EntryMalformed:
        return
    assert isinstance(pushed, Pushed | Notice)


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"5\n1:a",
        b"5-0\n2:a",
        b"5-0\na",
        b"5-0\n:a",
        b"5-0\n-3:",
        b"5-0\n+1:a",
        b"5-0\n 1:a",
        b"5-0\n1_0:aaaaaaaaaa",
        b"~waiting\n",
        b"~waiting\n[]",
        b"~waiting\n" + b'{"a":' * 100_000,
        b"~\xff\n{}",
    ],
)
def test_a_message_that_is_not_a_push_is_malformed(message: bytes) -> None:
    with pytest.raises(EntryMalformed):
        unpack(message)


@pytest.mark.parametrize(
    ("value", "data"),
    [
        (b"?", {}),
        (b"?from the future", {}),
        (b"v\xff\x00", {}),
        (b"v[1]", {}),
        (b'W{"prev":"1-2"}', {"prev": "1-2"}),
    ],
)
def test_a_kind_of_a_later_version_is_unknown_and_not_malformed(
    value: bytes, data: dict[str, object]
) -> None:
    assert decode(AT, value) == Entry(AT, "unknown", data=data)
