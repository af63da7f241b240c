"""Pure: makes the values of a long JSON text in short calls, so that other threads run in between.

One call of the decoder in C for 20 MB of small values would stop the event loop for half a second,
also in another thread.
"""

from typing import Any

import msgspec

_SHORT = 16_384


def decode_patiently(text: bytes) -> Any:
    """As `msgspec.json.decode`; raises as that does."""
    if len(text) <= _SHORT:
        return msgspec.json.decode(text)
    if text.startswith(b"{"):
        fields = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
        return {name: decode_patiently(bytes(value)) for name, value in fields.items()}
    if text.startswith(b"["):
        return [
            decode_patiently(bytes(v)) for v in msgspec.json.decode(text, type=list[msgspec.Raw])
        ]
    return msgspec.json.decode(text)
