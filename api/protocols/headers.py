"""Request headers that several protocols accept."""

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
