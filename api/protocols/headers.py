"""Request headers that several protocols accept."""

from collections.abc import Mapping
from typing import Annotated

from fastapi import Header

IdempotencyKey = Annotated[
    str | None,
    Header(
        pattern=r"^[\x21-\x7e]{1,255}$",
        description="Makes a submit safe to repeat. The same key and body name the same request",
    ),
]
CancelOnDisconnect = Annotated[
    bool,
    Header(
        description="`true` cancels the request when the caller disconnects; by default it goes on"
    ),
]


def sdk_try_of(headers: Mapping[str, str]) -> int | None:
    """Pure: how often OpenAI's SDK has repeated this call by itself; None if none says so."""
    count = headers.get("x-stainless-retry-count", "")
    return int(count) if count.isascii() and count.isdigit() and len(count) < 4 else None
