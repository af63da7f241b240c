"""One output entry, before it is written."""

from typing import Any

import msgspec

from tickertape.broker.kinds import Output


class Piece(msgspec.Struct, frozen=True, gc=False):
    """One output entry to be.

    `kind` is delta, reasoning or refusal, with `text` that is always encodable as UTF-8; or
    tool_call, with `data` as CallReader makes it. `x` holds provider fields; the text of a delta is
    empty when it has nothing else.
    """

    kind: Output
    text: str = ""
    data: dict[str, Any] | None = None
    x: dict[str, Any] | None = None
