"""Reads as much of a refused HTTP call as an error needs, and follows no redirect.

The SDK would read the whole body of an error into memory, and would send the prompt wherever a
redirect points. `refuse` is a hook that runs when the head of a response has arrived, before the
SDK reads anything of the body.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Protocol

from tickertape.worker.upstream.chunk_json import decode_error
from tickertape.worker.upstream.errors import Truncated, UpstreamGarbage
from tickertape.worker.upstream.sse import SSEDecoder

_EVENT_STARTS = (b"data:", b"event:", b"error:")
ERROR_BYTES = 64 * 1024
"""An error's body is read up to this many bytes, counted after decompression."""
ERROR_S = 10.0
"""An error's body is read for this long. What has arrived by then is the error."""


class Response(Protocol):
    """A response of the SDK's HTTP layer whose body has not been read."""

    @property
    def status_code(self) -> int:
        """The HTTP status."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers; names may be asked for in any case."""
        ...

    def aiter_bytes(self) -> AsyncIterator[bytes]:
        """The decompressed body as it arrives."""
        ...


class ErrorResponse(Exception):
    """A response with a status other than 2xx. `body` is its beginning."""

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        super().__init__(f"HTTP {status}")
        self.status = status
        self.headers = headers
        self.body = body


async def refuse(response: Response) -> None:
    """Raise ErrorResponse for a response that is no answer, so that nothing else reads its body.

    Also raises Truncated and UpstreamGarbage. Layers of compression multiply: each one makes up to
    1,000 bytes of one byte, so a response with more than one is refused.
    """
    codings = [c for c in response.headers.get("content-encoding", "").split(",") if c.strip()]
    if len(codings) > 1:
        raise UpstreamGarbage("The upstream's answer is compressed more than once.")
    if 200 <= response.status_code < 300:
        return
    body = b"" if 300 <= response.status_code < 400 else await _beginning(response)
    raise ErrorResponse(response.status_code, response.headers, body)


async def read_bounded(response: Response, max_bytes: int) -> bytes:
    """The whole body; raises UpstreamGarbage if it is larger."""
    body = bytearray()
    async for piece in response.aiter_bytes():
        body += piece
        if len(body) > max_bytes:
            raise UpstreamGarbage("The upstream's answer is too large.")
    return bytes(body)


def report_in(body: bytes) -> object:
    """Pure: the report of an error in a body: an object, or a text."""
    body = body.strip()
    if body.startswith(_EVENT_STARTS):  # some servers send their error as an event stream
        body = next(iter(SSEDecoder().feed(body + b"\n\n")), b"")
    return decode_error(body)


async def _beginning(response: Response) -> bytes:
    body = bytearray()
    try:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ERROR_S):
                async for piece in response.aiter_bytes():
                    body += piece[: ERROR_BYTES - len(body)]
                    if len(body) >= ERROR_BYTES:
                        break
    except Exception as error:  # noqa: BLE001  # of any transport, with the request inside
        if "decod" in type(error).__name__.lower():
            raise UpstreamGarbage("The upstream's error cannot be decompressed.") from None
        raise Truncated("The connection closed in the middle of the upstream's error.") from None
    return bytes(body)
