"""A program that floods an API with connections that are slow, large or garbage.

`python -m tests.faults.flood URL` prints a line when all connections are open, and goes on until it
is killed. Connections that the server closes are opened again.
"""

import asyncio
import contextlib
import resource
import sys
from collections.abc import Callable, Coroutine
from typing import Any
from urllib.parse import urlsplit

HEADS = 2000
BODIES = 500
LARGE = 4
_PAUSE_S = 1.0
_MIB = 1024 * 1024
_HEAD = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Slow: "
_JSON = b"POST /chat HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
_CHUNKED = _JSON + b'Transfer-Encoding: chunked\r\n\r\n11\r\n{"message": "hi"}\r\n0\r\n'

Open = Callable[[], Coroutine[Any, Any, tuple[asyncio.StreamReader, asyncio.StreamWriter]]]


class Flood:
    """All connections. `opened` counts those that were opened once."""

    def __init__(self, url: str) -> None:
        self._address = urlsplit(url)
        self.opened = 0

    async def run(self) -> None:
        """Open everything, and keep on."""
        attacks = [
            *[self._dribble(_HEAD, b"x") for _ in range(HEADS)],
            *[
                self._dribble(_JSON + b"Content-Length: 1000000\r\n\r\n{", b" ")
                for _ in range(BODIES)
            ],
            *[self._pour(_HEAD, b"x" * 10 * _MIB) for _ in range(LARGE)],
            *[self._pour(_CHUNKED, b"X-Trailer: 1\r\n" * 700_000) for _ in range(LARGE)],
            *[self._pour(b"\x00garbage", b"\r\n\r\n") for _ in range(LARGE)],
            self._pour(_HEAD, b"x" * 100 * _MIB),
        ]
        async with asyncio.TaskGroup() as group:
            for attack in attacks:
                group.create_task(attack)
            group.create_task(self._report(len(attacks)))

    async def _report(self, count: int) -> None:
        while self.opened < count:
            await asyncio.sleep(0.05)
        print("flooding", flush=True)

    async def _dribble(self, first: bytes, drop: bytes) -> None:
        is_new = True
        while True:
            with contextlib.suppress(ConnectionError):
                reader, writer = await self._open()
                writer.write(first)
                self.opened, is_new = self.opened + is_new, False
                ended = asyncio.create_task(reader.read())
                while not (await asyncio.wait([ended], timeout=_PAUSE_S * 2))[0]:
                    writer.write(drop)
                writer.transport.abort()
                await asyncio.gather(ended, return_exceptions=True)
            await asyncio.sleep(_PAUSE_S)

    async def _pour(self, first: bytes, rest: bytes) -> None:
        is_new = True
        while True:
            with contextlib.suppress(ConnectionError):
                _, writer = await self._open()
                self.opened, is_new = self.opened + is_new, False
                writer.write(first)
                view = memoryview(rest)
                for start in range(0, len(rest), _MIB):
                    writer.write(view[start : start + _MIB])
                    await writer.drain()
                writer.transport.abort()
            await asyncio.sleep(_PAUSE_S)

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(self._address.hostname, self._address.port)


if __name__ == "__main__":
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    asyncio.run(Flood(sys.argv[1]).run())
