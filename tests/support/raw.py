"""A connection on which a test sends bytes that no HTTP client would send."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

from tests.support.hosts import MOUNT_PATH

_LIMIT_S = 20


class RawConnection:
    """Bytes out, bytes in. `received` is what has been read so far."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.received = b""

    async def send(self, data: bytes) -> None:
        """Send bytes; a connection that the server has closed takes them too."""
        with contextlib.suppress(ConnectionError):
            self._writer.write(data)
            await self._writer.drain()

    async def until(self, mark: bytes) -> bytes:
        """Read until the mark was received; returns all that was received."""
        async with asyncio.timeout(_LIMIT_S):
            while mark not in self.received:
                piece = await self._reader.read(65_536)
                assert piece, f"closed before {mark!r}: {self.received!r}"
                self.received += piece
        return self.received

    async def until_closed(self) -> bytes:
        """Read until the server closes; returns all that was received."""
        async with asyncio.timeout(_LIMIT_S):
            with contextlib.suppress(ConnectionError):
                while piece := await self._reader.read(65_536):
                    self.received += piece
        return self.received


@contextlib.asynccontextmanager
async def raw_connection(
    url: str, sent: bytes = b"", *, receives: int | None = None
) -> AsyncIterator[RawConnection]:
    """A connection to the server of a URL, on which some bytes were sent.

    With `receives`, the client takes about as many bytes before the test reads.
    """
    parts = urlsplit(url)
    connected = socket.socket()
    if receives is not None:
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receives)
    connected.setblocking(False)
    await asyncio.get_running_loop().sock_connect(connected, (parts.hostname, parts.port))
    reader, writer = await asyncio.open_connection(sock=connected, limit=receives or 65_536)
    try:
        connection = RawConnection(reader, writer)
        await connection.send(sent)
        yield connection
    finally:
        writer.transport.abort()


async def exchange(url: str, sent: bytes) -> bytes:
    """What the server answers to these bytes until it closes the connection."""
    async with raw_connection(url, sent) as connection:
        return await connection.until_closed()


def call(method: str, path: str, *headers: str, body: bytes = b"") -> bytes:
    """The bytes of a call; a body gets its Content-Length."""
    lines = [f"{method} {MOUNT_PATH}{path} HTTP/1.1", "Host: localhost", *headers]
    if body:
        lines += [f"Content-Length: {len(body)}", "Content-Type: application/json"]
    return "\r\n".join([*lines, "", ""]).encode() + body


def error_of(answer: bytes) -> tuple[int, str]:
    """The status and the code of an answer that is one JSON error."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"content-type: application/json" in head.lower(), answer
    error: dict[str, Any] = json.loads(body)["error"]
    assert error["message"]
    return int(head.split()[1]), str(error["code"])
