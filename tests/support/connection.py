"""One server-side HTTP/1.1 connection that a test controls byte by byte. Knows no OpenAI.

Not a framework on purpose: no framework can cut a body, reset a connection or report that its
client left.
"""

import asyncio
import json
import socket
import struct
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, cast


@dataclass(frozen=True)
class Request:
    """Header names are lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


class Connection(asyncio.Protocol):
    """Runs `serve(self)` as a task, and is one of `live` while that runs.

    When the client leaves, `on_gone` is called once, if set.
    """

    def __init__(
        self, serve: Callable[["Connection"], Coroutine[Any, Any, None]], live: set["Connection"]
    ) -> None:
        self._live = live
        self.on_gone: Callable[[], object] | None = None
        self.is_gone = False
        self._serve = serve
        self._buffer = bytearray()
        self._arrived = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self._transport: asyncio.Transport
        self._task: asyncio.Task[None]

    async def read_request(self) -> Request | None:
        """The next request, None when the client sends no more."""
        if (end := await self._find(b"\r\n\r\n")) is None:
            return None
        first, *lines = self._take(end + 4).decode("latin-1").rstrip().split("\r\n")
        method, path, _ = first.split(" ")
        headers = {
            name.lower(): value.strip() for name, _, value in (x.partition(":") for x in lines)
        }
        length = int(headers.get("content-length", "0"))
        if not await self._has(length):
            return None
        return Request(method, path, headers, self._take(length))

    def start_stream(self, headers: Mapping[str, str]) -> None:
        """Begin a 200 with a chunked body; `send_chunk` and `end_stream` follow."""
        self._write_head(200, {**headers, "transfer-encoding": "chunked"})

    async def send_chunk(self, data: bytes) -> None:
        """Send `data` as one chunk in one write; waits while the client does not read."""
        if self._transport.is_closing():
            # This write found the client gone, which the loop reports only in its next turn. Writes
            # to a lost connection do not wait, so a script without pauses would play to its end.
            await asyncio.sleep(0)
        self._transport.write(b"%x\r\n%b\r\n" % (len(data), data))
        await self._writable.wait()

    def end_stream(self) -> None:
        self._transport.write(b"0\r\n\r\n")

    def respond(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """Send a whole response."""
        self._write_head(status, {**headers, "content-length": str(len(body))})
        self._transport.write(body)

    def respond_json(
        self, status: int, body: object, headers: Mapping[str, str] | None = None
    ) -> None:
        """Send `body` as a whole JSON response."""
        head = {"content-type": "application/json", **(headers or {})}
        self.respond(status, head, json.dumps(body).encode())

    def cut(self) -> None:
        """FIN after what was sent so far."""
        self._transport.close()

    def reset(self) -> None:
        """RST after what was sent so far."""
        sock: socket.socket = self._transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()

    async def abort(self) -> None:
        """Abort the connection and wait until it is closed."""
        self._transport.abort()
        self._task.cancel()
        await asyncio.wait([self._task])

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Only by duck typing: uvloop's transports do not inherit from asyncio.Transport.
        self._transport = cast("asyncio.Transport", transport)
        self._task = asyncio.create_task(self._run(), name="scripted connection")
        self._live.add(self)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        self._arrived.set()

    def eof_received(self) -> None:
        # No client in these tests half-closes, so a FIN means that the client left. Returning None
        # closes this side.
        self._notice_gone()

    def connection_lost(self, exc: Exception | None) -> None:
        self._notice_gone()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    async def _run(self) -> None:
        try:
            await self._serve(self)
        finally:
            self._live.discard(self)
            self._transport.close()

    def _notice_gone(self) -> None:
        if self.is_gone:
            return
        self.is_gone = True
        self._arrived.set()
        self._writable.set()
        if self.on_gone is not None:
            self.on_gone()

    def _write_head(self, status: int, headers: Mapping[str, str]) -> None:
        lines = [f"HTTP/1.1 {status} Scripted", *(f"{k}: {v}" for k, v in headers.items())]
        self._transport.write("\r\n".join([*lines, "", ""]).encode("latin-1"))

    def _take(self, size: int) -> bytes:
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken

    async def _find(self, mark: bytes) -> int | None:
        while (at := self._buffer.find(mark)) < 0:
            if not await self._more():
                return None
        return at

    async def _has(self, size: int) -> bool:
        while len(self._buffer) < size:
            if not await self._more():
                return False
        return True

    async def _more(self) -> bool:
        if not self.is_gone:
            self._arrived.clear()
            await self._arrived.wait()
        return not self.is_gone
