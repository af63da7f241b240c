"""The body of a response, handed over by the HTTP parser as it arrives, or read in the old way.

aiohttp has no call for a body that is handed over. Its parser calls `feed_data` of the response's
StreamReader for each piece, which keeps the piece and wakes a task. That task costs as much as all
other work for a token. `push_to` gives the reader another class, whose `feed_data` passes the piece
on. Connections, TLS, proxies and the parser remain aiohttp's.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Protocol

import aiohttp
import httpx2

_SEGMENT_BYTES = 16 * 1024


class Sink(Protocol):
    """Receives a body in callbacks of the event loop, which must not raise."""

    def feed(self, segment: bytes) -> None:
        """Take the next bytes, which are never empty."""
        ...

    def end(self, *, is_cut: bool) -> None:
        """Learn that no more bytes follow; `is_cut` if the body is not complete."""
        ...


class PushedBody(httpx2.AsyncByteStream):
    """The open body of a response. Either iterate over it, or call `push_to` once."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self._is_paused = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for segment in self._response.content.iter_chunked(_SEGMENT_BYTES):
            yield segment

    async def aclose(self) -> None:
        """Push nothing more, and close the connection, unless the body has come to its end."""
        _SINKS.pop(self._response.content, None)
        self._response.release()
        await self._response.wait_for_close()

    def push_to(self, sink: Sink) -> None:
        """Pass the bytes that are there to `sink`, and from then on all others when they arrive."""
        content = self._response.content
        try:
            while segment := content.read_nowait():
                sink.feed(segment)
        except Exception:  # noqa: BLE001  # any error of a transport means that the body broke off
            sink.end(is_cut=True)
            return
        if content.is_eof():
            sink.end(is_cut=False)
            return
        _SINKS[content] = sink
        content.__class__ = _PushingReader

    def pause(self) -> None:
        """Read no more from the connection until `resume`. A few more bytes may be passed on."""
        transport = self._transport
        if transport is not None and not transport.is_closing():
            transport.pause_reading()
            self._is_paused = True

    def resume(self) -> None:
        """Read on after `pause`."""
        transport = self._transport
        if self._is_paused and transport is not None and not transport.is_closing():
            transport.resume_reading()
        self._is_paused = False

    @property
    def _transport(self) -> asyncio.Transport | None:
        connection = self._response.connection
        return None if connection is None else connection.transport


class _PushingReader(aiohttp.StreamReader):
    """A reader that keeps nothing. It has no attributes of its own, so that it can take over."""

    __slots__ = ()

    def feed_data(self, data: bytes, size: int = 0) -> bool:  # noqa: ARG002  # aiohttp's signature
        if data and (sink := _SINKS.get(self)) is not None:
            sink.feed(data)
        return False  # there is no more data to decompress

    def feed_eof(self) -> None:
        super().feed_eof()
        _end(self, is_cut=False)

    def set_exception(self, exc: BaseException, *cause: BaseException) -> None:
        super().set_exception(exc, *cause)
        _end(self, is_cut=True)

    def begin_http_chunk_receiving(self) -> None:
        """Nothing: where chunks of HTTP begin and end does not matter."""

    def end_http_chunk_receiving(self) -> None:
        """Nothing."""


# The sinks of the readers that push. The readers themselves have no room for one.
_SINKS: dict[aiohttp.StreamReader, Sink] = {}


def _end(content: aiohttp.StreamReader, *, is_cut: bool) -> None:
    sink = _SINKS.pop(content, None)
    if sink is not None:
        sink.end(is_cut=is_cut)
