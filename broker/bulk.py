"""One Redis connection that is written to without waiting and read in bulk.

redis-py makes the connection (address, AUTH, TLS, time-outs). Past that its API costs a task switch
and several awaits for each command, ten times the price of the command itself, so the bytes are
handed to hiredis directly: the stream's reader and writer are private attributes of redis-py's
Connection, checked by `open` and held by a test.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import hiredis
from redis.asyncio import Connection

from broker.connections import failures_mapped
from broker.errors import Unavailable

_READ_BYTES = 256 * 1024


class BulkConnection:
    """Calls `on_reply` with every reply or message, in order, from `run`.

    A server's error reply is passed on as a hiredis.ReplyError. One task owns the connection: it
    opens, runs and closes it; others may only `send` while `is_open`.
    """

    def __init__(self, connection: Connection, on_reply: Callable[[Any], None]) -> None:
        self._connection = connection
        self._on_reply = on_reply
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._parser = hiredis.Reader()

    @property
    def is_open(self) -> bool:
        """Whether `send` reaches a connection that is not known to be broken."""
        return self._writer is not None and not self._writer.is_closing()

    @property
    def unsent_bytes(self) -> int:
        """What the kernel has not taken yet."""
        return self._writer.transport.get_write_buffer_size() if self._writer else 0

    async def open(self) -> None:
        """Connect; raises Unavailable."""
        with failures_mapped():
            await self._connection.connect()  # type: ignore[no-untyped-call]  # bare in redis-py
        self._reader = self._connection._reader  # noqa: SLF001  the reason of this module
        self._writer = self._connection._writer  # noqa: SLF001  the reason of this module

    def send(self, *arguments: str | bytes | int) -> None:
        """Write one command; when the connection breaks it is lost, and `run` raises."""
        if self._writer is not None:
            packed = hiredis.pack_command(arguments)  # type: ignore[arg-type]  # a narrow stub
            self._writer.write(packed)

    async def run(self, *, silence_s: float, on_silence: Callable[[], bool]) -> None:
        """Read until the connection breaks, then raise Unavailable.

        After `silence_s` without a byte `on_silence` is asked whether that is all right.
        """
        reader = self._reader
        if reader is None:
            raise Unavailable
        while True:
            try:
                async with asyncio.timeout(silence_s):
                    data = await reader.read(_READ_BYTES)
            except TimeoutError:
                if on_silence():
                    continue
                raise Unavailable from None
            except OSError as error:
                raise Unavailable from error
            if not data:
                raise Unavailable
            self._parser.feed(data)
            try:
                while (reply := self._parser.gets()) is not False:
                    self._on_reply(reply)
            except hiredis.ProtocolError as error:
                raise Unavailable from error

    async def close(self) -> None:
        """Close at once; safe to call at any time."""
        self._reader = self._writer = None
        await self._connection.disconnect(nowait=True)
