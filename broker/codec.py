"""Pure: log entries to bytes and back, cursors, and the push message that carries entries.

An entry is stored as one field, `e`, whose value is one letter for the kind and then the payload:
bare UTF-8 text for output, JSON for the rest. Because of the constant field name and the one-letter
kind, a small delta takes about 25 bytes of memory. `queued` and every opener carry `v`, the version
of the codec.

A later version may add kinds, under other letters or signs. This version reads such an entry as
`unknown`. A new kind that ends a log, or that must be read, needs a release whose `FORMAT` excludes
older ones (formats.py); a new kind of opener names `prev`, as all openers do.
"""

import re
import sys
from typing import Any, NamedTuple, Self

import msgspec

from tickertape.broker.errors import CursorMalformed, EntryMalformed
from tickertape.broker.kinds import OUTPUT, TERMINALS, EntryKind, TextOutput
from tickertape.broker.patient_json import decode_patiently

VERSION = 1
# The form of a request that a function answers. A worker of an earlier format leaves it to others.
FUNCTION_FORMAT = 2
# The newest form of a request that the workers of this release can run.
NEWEST_FORMAT = FUNCTION_FORMAT
FIELD = b"e"

_CURSOR = re.compile(r"(\d{1,16})-(\d{1,10})", re.ASCII)
_NOTICE = b"~"
# The errors of msgspec and the built-in decoders for malformed bytes; too deeply nested JSON raises
# RecursionError.
_MALFORMED = (ValueError, RecursionError)

# The letters of openers and of the terminals that scripts write also stand in scripts/*.lua.
_JSON_KINDS: dict[str, EntryKind] = {
    "Q": "queued",
    "S": "started",
    "Z": "reset",
    "K": "resumed",
    "t": "tool_call",
    "o": "tool_result",
    "a": "data",
    "C": "completed",
    "F": "failed",
    "X": "cancelled",
}
_TEXT_KINDS: dict[str, TextOutput] = {"d": "delta", "r": "reasoning", "u": "refusal"}
# The same kinds with provider fields: the payload is {"text", "x"}.
_EXTENDED_KINDS = {letter.upper(): kind for letter, kind in _TEXT_KINDS.items()}
_ALL_KINDS: dict[str, EntryKind] = {**_JSON_KINDS, **_TEXT_KINDS}
_LETTERS = {kind: letter.encode() for letter, kind in _ALL_KINDS.items()}
_EXTENDED_LETTERS = {kind: letter.encode() for letter, kind in _EXTENDED_KINDS.items()}
_KINDS = {ord(letter): kind for letter, kind in (_ALL_KINDS | _EXTENDED_KINDS).items()}
_PLAIN = frozenset(ord(letter) for letter in _TEXT_KINDS)
_EXTENDED = frozenset(ord(letter) for letter in _EXTENDED_KINDS)
_OF_OUTPUT = frozenset(bytes([letter]) for letter, kind in _KINDS.items() if kind in OUTPUT)
# The first byte of any kind, known or not: a printable ASCII character.
_OF_KINDS = frozenset(range(ord("!"), ord("~") + 1))


class Cursor(msgspec.Struct, frozen=True, order=True, gc=False):
    """The id of the last entry that a reader has.

    Two numbers, compared as numbers. `attempt` is a time in ms that grows with every attempt and is
    never reused, so a cursor of a lost log cannot match an entry of the log that replaced it. `seq`
    counts from 0 without gaps within the attempt, so a missing entry shows. A cursor is valid only
    while its entry exists.
    """

    attempt: int
    seq: int

    def __str__(self) -> str:
        return f"{self.attempt}-{self.seq}"

    def next(self) -> "Cursor":
        """The id after this one in the same attempt."""
        return Cursor(self.attempt, self.seq + 1)

    @classmethod
    def parse(cls, text: str | bytes) -> Self:
        """Read `<attempt>-<seq>`; raises CursorMalformed for anything else."""
        match = _CURSOR.fullmatch(
            text if isinstance(text, str) else text.decode("ascii", "replace")
        )
        if match is None:
            raise CursorMalformed
        return cls(int(match[1]), int(match[2]))


START = Cursor(0, 0)


class Entry(msgspec.Struct, frozen=True):
    """One record of a log.

    `text` is set for delta, reasoning and refusal, `data` for every other kind. `x` holds provider
    fields of an output entry (logprobs, for example) as the upstream sent them; a delta may have
    only `x`. The `data` of a `tool_call` has the call's index and the fields that this piece adds:
    `id`, `type` unless the call is a function's, `name`, `arguments`, and provider fields as `x`.
    That of a `tool_result` has the `index` and the `id` of its call, any JSON as `result`, and
    `is_error` if the tool failed. `data` has a `name`, any JSON as `value`, and may have an `id`.
    """

    cursor: Cursor
    kind: EntryKind
    text: str = ""
    data: dict[str, Any] = {}
    x: dict[str, Any] | None = None

    @property
    def is_terminal(self) -> bool:
        """Whether the log ends here."""
        return self.kind in TERMINALS


class _Extended(msgspec.Struct):
    text: str
    x: dict[str, Any]


# Called with a type, `msgspec.json.decode` compiles the type again, which takes longer than the
# decoding of a small entry.
_decode_object = msgspec.json.Decoder(dict[str, Any]).decode
_decode_extended = msgspec.json.Decoder(_Extended).decode


class Notice(NamedTuple):
    """A message about a log that is not an entry: it is never replayed and has no cursor."""

    kind: str
    data: dict[str, Any]


class Pushed(msgspec.Struct, frozen=True):
    """The entries of one script call; value i has the id (first.attempt, first.seq + i)."""

    first: Cursor
    values: list[bytes]


def made_call_id(request_id: str, index: int) -> str:
    """The id of a tool call that came from the upstream without an id, or with a duplicate."""
    return f"call_{request_id}_{index}"


def encode_text(kind: TextOutput, text: str, x: dict[str, Any] | None = None) -> bytes:
    """The stored value of a delta, reasoning or refusal; the text must be encodable as UTF-8."""
    if x:
        return _EXTENDED_LETTERS[kind] + msgspec.json.encode({"text": text, "x": x})
    return _LETTERS[kind] + text.encode()


def encode_data(kind: EntryKind, data: dict[str, Any]) -> bytes:
    """The stored value of an entry of any other kind."""
    return _LETTERS[kind] + msgspec.json.encode(data)


def decode(cursor: Cursor, value: bytes, *, is_patient: bool = False) -> Entry:
    """The entry of a stored value, with the kind `unknown` if a later version has added its kind.

    With `is_patient`, other threads run while a long entry is decoded. Raises EntryMalformed for
    what no version writes.
    """
    letter = value[0] if value else 0
    kind = _KINDS.get(letter)
    if kind is None:
        return _decode_unknown(cursor, value)
    try:
        if letter in _PLAIN:
            return Entry(cursor, kind, value[1:].decode())
        if letter in _EXTENDED:
            extended = _decode_extended(value[1:])
            return Entry(cursor, kind, extended.text, x=extended.x)
        if is_patient:
            return Entry(cursor, kind, data=_object(decode_patiently(value[1:])))
        return Entry(cursor, kind, data=_decode_object(value[1:]))
    except _MALFORMED as error:
        raise EntryMalformed from error


def is_output(value: bytes) -> bool:
    """Whether a stored value is that of an entry of output."""
    return value[:1] in _OF_OUTPUT


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise EntryMalformed
    return value


def _decode_unknown(cursor: Cursor, value: bytes) -> Entry:
    """An entry of a later version, with its data if that is a JSON object: an opener has `prev`."""
    if not value or value[0] not in _OF_KINDS:
        raise EntryMalformed
    try:
        data = _decode_object(value[1:])
    except _MALFORMED:
        data = {}
    return Entry(cursor, "unknown", data=data)


def unpack(message: bytes) -> Pushed | Notice:
    """Read a push message; raises EntryMalformed for any other message.

    The first line is the id of the first entry, the rest netstrings `<length>:<value>`, one for
    each entry; or the first line is `~<kind>` and the rest JSON.
    """
    head, _, body = message.partition(b"\n")
    try:
        if head[:1] == _NOTICE:
            return Notice(head[1:].decode(), _decode_object(body))
        attempt, _, seq = head.partition(b"-")
        length, _, value = body.partition(b":")
        # Most messages carry one entry, for which the loop takes twice as long.
        is_one = length.isdigit() and int(length) == len(value)
        values = [value] if is_one else _netstrings(body)
        return Pushed(Cursor(int(attempt), int(seq)), values)
    except _MALFORMED as error:
        raise EntryMalformed from error


def _netstrings(body: bytes) -> list[bytes]:
    values = []
    at, size = 0, len(body)
    while at < size:
        colon = body.index(b":", at)
        length = body[at:colon]
        # int() also accepts "-3", and a step backwards would loop without end.
        end = colon + 1 + int(length) if length.isdigit() else sys.maxsize
        if end > size:
            raise EntryMalformed
        values.append(body[colon + 1 : end])
        at = end
    return values
