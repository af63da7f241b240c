"""Request headers that several protocols accept."""

from typing import Annotated

from fastapi import Header

IdempotencyKey = Annotated[
    str | None,
    Header(
        pattern=r"^[\x21-\x7e]{1,255}$",
        description="Makes a submit safe to repeat: the same key and body are the same request",
    ),
]
CancelOnDisconnect = Annotated[
    bool,
    Header(
        description="`true`: the request is cancelled when its caller leaves; otherwise it goes on"
    ),
]
