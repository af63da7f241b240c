"""Pure: text that UTF-8 can encode.

Servers that count in UTF-16 cut a character outside the basic plane in two, and send each half,
escaped, in a separate delta. Python keeps such halves as lone surrogates, which no encoder accepts.
"""

import math
from collections.abc import Iterator
from typing import Any


class SurrogateMender:
    """Joins halves across the deltas of a channel: a kind of output, or one tool call."""

    def __init__(self) -> None:
        self._held: dict[str, str] = {}

    def mend(self, channel: str, text: str) -> str:
        """`text` with halves joined, and lone halves replaced by U+FFFD.

        A high half at the end is kept for the next text of the channel, so the result may be empty.
        """
        if self._held:
            text = self._held.pop(channel, "") + text
        if text.isascii() or _is_encodable(text):
            return text
        if "\ud800" <= text[-1] <= "\udbff":
            self._held[channel] = text[-1]
            text = text[:-1]
        return without_orphans(text)

    def close(self) -> Iterator[tuple[str, str]]:
        """U+FFFD for each channel whose last half has no other half."""
        for channel in self._held:
            yield channel, "\ufffd"
        self._held = {}


def _is_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def without_orphans(text: str) -> str:
    """`text` with its surrogate pairs joined and lone surrogates replaced by U+FFFD."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def scrubbed(value: Any) -> Any:
    """Decoded JSON as any encoder accepts it: no lone surrogate, and no number out of range."""
    match value:
        case str():
            return without_orphans(value)
        case float() if not math.isfinite(value):
            return None
        case int() if abs(value) >= 2**63:
            return None
        case dict():
            return {without_orphans(key): scrubbed(item) for key, item in value.items()}
        case list():
            return [scrubbed(item) for item in value]
    return value
