"""Pure: the segments of a log, and the entries that they hold.

A segment is what the stream of a log stores as one item. While a request runs, each entry is one.
Compaction puts all successive output entries of one kind (of one call, for tool calls) into one
segment, and the opener of the first attempt with those behind it. The entries are still there, with
the same ids and the same bytes.

A segment has the id of its last entry, so that a read from any of its entries on finds it. It has
one field, or after compaction two:

    e   one entry of the same kind with the text of all entries, which is all that version 0.1 reads
    p   MessagePack: a list with one item for each entry. An item n stands for a plain entry with
        the next n bytes of the text, and an item (n, value) for any other entry whose text is the
        next n bytes.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import msgspec

from tickertape.broker.codec import Cursor, decode, encode_data
from tickertape.broker.errors import EntryMalformed
from tickertape.broker.fold import Answer

PARTS_FIELD = b"p"

Stored = tuple[Cursor, bytes]
# Without bounds: msgspec 0.22 mixes up the bounds of an int in a union and the length of a tuple.
_Item = int | tuple[int, bytes]

_items = msgspec.msgpack.Decoder(list[_Item])
_TEXT_LETTERS = frozenset(b"dru")
_EXTENDED_LETTERS = frozenset(b"DRU")
_TOOL_CALL = ord("t")
_OPENER = b"S"


class Segment(NamedTuple):
    """One stored item of a log: the entry `value`, or the entries that `parts` describes."""

    last: Cursor
    value: bytes
    parts: bytes = b""


class _Run:
    """Entries of one kind, in order, that become one segment."""

    def __init__(self, kind: object, opener: Stored | None = None) -> None:
        self.kind = kind
        self.last = opener
        self._items: list[_Item] = [] if opener is None else [(0, opener[1])]
        self._texts: list[bytes] = []
        self._letter = b""
        self._call = Answer()

    def continues(self, cursor: Cursor, kind: object) -> bool:
        """Whether an entry is the next one of this run. An opener alone takes any kind."""
        follows = self.last is None or cursor == self.last[0].next()
        return follows and self.kind in (None, kind)

    def add(self, cursor: Cursor, value: bytes, kind: object) -> None:
        """Add the next entry; raises EntryMalformed or ValueError."""
        self.kind = kind
        self.last = cursor, value
        if value[0] in _TEXT_LETTERS:
            text, is_plain = value[1:], True
        else:
            entry = decode(cursor, value)
            text, is_plain = entry.text.encode(), False
            if value[0] == _TOOL_CALL:
                self._call.feed(entry)
                text = (entry.data.get("arguments") or "").encode()
                is_plain = _tool_piece(entry.data.get("index", 0))(text) == value
        self._letter = value[:1].lower()
        self._texts.append(text)
        self._items.append(len(text) if is_plain else (len(text), value))

    def segment(self) -> Segment | None:
        """The segment of these entries; None if nothing was added."""
        if self.last is None:
            return None
        last, value = self.last
        if len(self._items) == 1:
            return Segment(last, value)
        if self._letter == b"t":
            (call,) = self._call.tool_calls.values()
            whole = encode_data("tool_call", call)
        else:
            whole = self._letter + b"".join(self._texts)
        return Segment(last, whole, msgspec.msgpack.encode(self._items))


class SegmentMaker:
    """Makes the segments of a compacted log from its entries, which are added in order."""

    def __init__(self) -> None:
        self._segments: list[Segment] = []
        self._run = _Run(None)

    def add(self, cursor: Cursor, value: bytes) -> None:
        """Add the next entry of the log; raises EntryMalformed or ValueError."""
        kind = _kind_of_run(cursor, value)
        if kind is not None and self._run.continues(cursor, kind):
            self._run.add(cursor, value, kind)
            return
        self._close_run()
        if kind is not None:
            self._run.add(cursor, value, kind)
        elif value[:1] == _OPENER:
            self._run = _Run(None, (cursor, value))
        else:
            self._segments.append(Segment(cursor, value))

    def finish(self) -> list[Segment]:
        """The segments of all entries."""
        self._close_run()
        return self._segments

    def _close_run(self) -> None:
        if (segment := self._run.segment()) is not None:
            self._segments.append(segment)
        self._run = _Run(None)


def entries_of(segment: Segment) -> Iterator[Stored]:
    """The entries of a segment, in order; raises EntryMalformed, also between two of them."""
    last, value, parts = segment
    if not parts:
        yield last, value
        return
    try:
        items = _items.decode(parts)
        text, make = _pieces(last, value)
        attempt, seq, at = last.attempt, last.seq - len(items), 0
        for item in items:
            seq += 1
            size, whole = (item, None) if isinstance(item, int) else item
            if size < 0:
                raise EntryMalformed
            yield Cursor(attempt, seq), make(text[at : at + size]) if whole is None else whole
            at += size
    except (ValueError, LookupError, AttributeError) as error:
        raise EntryMalformed from error


def _kind_of_run(cursor: Cursor, value: bytes) -> object:
    """What the entries of a run have in common; None for an entry that stands alone."""
    letter = value[0] if value else 0
    if letter in _TEXT_LETTERS:
        return letter
    if letter == _TOOL_CALL:
        return letter, decode(cursor, value).data.get("index", 0)
    return ord(value[:1].lower()) if letter in _EXTENDED_LETTERS else None


def _pieces(last: Cursor, value: bytes) -> tuple[bytes, Callable[[bytes], bytes]]:
    """The text of a run, and the function that makes the plain entry of a piece of the text."""
    if value[0] == _TOOL_CALL:
        call = decode(last, value).data
        return call["arguments"].encode(), _tool_piece(call["index"])
    letter = value[:1]
    return value[1:], lambda piece: letter + piece


def _tool_piece(index: Any) -> Callable[[bytes], bytes]:
    return lambda piece: encode_data("tool_call", {"index": index, "arguments": piece.decode()})
