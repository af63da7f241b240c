"""One output entry, before it is written."""

from typing import Any

import msgspec

from tickertape.broker.kinds import Output


class Piece(msgspec.Struct, frozen=True, gc=False):
    """One output entry, before it is written.

    A delta, reasoning or refusal has `text`, which UTF-8 can always encode. The other kinds have
    `data`, which CallReader made for the call of an upstream, and PieceMaker for a function. `x`
    has provider fields; a delta that only has these has an empty text.
    """

    kind: Output
    text: str = ""
    data: dict[str, Any] | None = None
    x: dict[str, Any] | None = None
