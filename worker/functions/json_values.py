"""Pure: what a function yields, as JSON that every reader of a log can decode."""

import json
import re

import msgspec

from tickertape.worker.functions.errors import WrongValue
from tickertape.worker.upstream.surrogates import without_orphans

# As many levels as a caller may send by default. Readers in any process decode this without fear of
# their limit of recursion.
MOST_LEVELS = 128
_OPENING, _CLOSING = b"[{", b"]}"
_STRINGS = re.compile(rb'"(?:[^"\\]|\\.)*"')
_BRACKETS = re.compile(rb"[\[\]{}]")


def json_text(value: object, what: str) -> str:
    """The JSON of a value. Raises WrongValue, which names the value by `what` and its type."""
    try:
        encoded = _encoded(value)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise WrongValue(f"JSON cannot hold {what} ({type(error).__name__})") from None
    if _levels(encoded) > MOST_LEVELS:
        raise WrongValue(f"{what} has more than {MOST_LEVELS} levels")
    return encoded.decode()


def _encoded(value: object) -> bytes:
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:
        # Half a character, as of a text that a tool has cut.
        return without_orphans(
            json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        ).encode()


def _levels(encoded: bytes) -> int:
    """How deeply lists and objects are nested; too large a number only below the limit."""
    count = encoded.count(b"[") + encoded.count(b"{")
    if count <= MOST_LEVELS:
        return count
    level = deepest = 0
    for bracket in _BRACKETS.findall(_STRINGS.sub(b"", encoded)):
        level += 1 if bracket in _OPENING else -1
        deepest = max(deepest, level)
    return deepest
