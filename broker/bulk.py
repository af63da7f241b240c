"""One Redis connection with writes that do not wait and reads in bulk.

redis-py opens the connection (address, AUTH, TLS, time-outs). After that, its API costs a task
switch and several awaits for each command, ten times the price of the command itself. So this
module takes over the transport, which redis-py's Connection keeps in a private attribute; a test
checks that.
"""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

import hiredis
from redis.asyncio import Connection

from tickertape.broker.errors import Unavailable
from tickertape.broker.redis_errors import failures_mapped

Fields = dict[bytes, bytes]


class BulkConnection(asyncio.Protocol):
    """Calls `on_reply` with every reply or message, in order, as the bytes arrive.

    An error reply of the server is passed as a hiredis.ReplyError. An exception of `on_reply` ends
    `run`. One task owns the connection: it opens, runs and closes the connection. Other tasks may
    only `send` while `is_open`.
    """

    def __init__(
        self,
        connection: Connection,
        on_reply: Callable[[Any], None],
        before_flush: Callable[[], None] = lambda: None,
    ) -> None:
        self._connection = connection
        self._on_reply = on_reply
        self._before_flush = before_flush
        self._is_flush_due = False
        self._transport: asyncio.WriteTransport | None = None
        # Asking for the running loop is a call of the kernel.
        self._loop: asyncio.AbstractEventLoop
        self._parser = hiredis.Reader()
        self._outgoing: list[bytes] = []
        self._is_silent = True
        # How many replies are to come, and whether some were at the end of a silent period.
        self._owed = 0
        self._was_owed = False
        self._failure: Exception | None = None
        self._has_failed = asyncio.Event()

    @property
    def is_open(self) -> bool:
        """Whether `send` reaches a connection that is not known to be broken."""
        return self._transport is not None and not self._transport.is_closing()

    async def open(self) -> None:
        """Connect; raises Unavailable."""
        self._loop = asyncio.get_running_loop()
        with failures_mapped():
            await self._connection.connect()  # type: ignore[no-untyped-call]  # bare in redis-py
        writer = self._connection._writer  # noqa: SLF001  the reason of this module
        self._transport = writer.transport  # type: ignore[union-attr]  # connected, so there is one
        self._transport.set_protocol(self)
        if not self.is_open:
            # Lost already: the loop has notified the protocol that redis-py installed.
            raise Unavailable

    def send(self, *arguments: str | bytes | float) -> None:
        """Write one command. If the connection breaks, the command is lost and `run` raises.

        All commands of one turn of the event loop leave in one write, because the write costs more
        than the rest of a command: many requests cost the kernel and Redis no more than one.
        """
        if self._transport is None:
            return
        self.flush_soon()
        self._owed += 1
        self._outgoing.append(hiredis.pack_command(arguments))  # type: ignore[arg-type]  # a narrow stub

    def flush_soon(self) -> None:
        """Call `before_flush` at the end of this turn; what it sends leaves in the same write."""
        if not self._is_flush_due:
            self._is_flush_due = True
            self._loop.call_soon(self._flush)

    async def run(self, *, silence_s: float, on_silence: Callable[[], bool] | None = None) -> None:
        """Never return; raise Unavailable when the connection breaks.

        After `silence_s` without a byte, `on_silence` decides whether the connection is kept.
        Without `on_silence`, a connection breaks that owed replies for a full period and sent none.
        """
        may_be_silent = on_silence or self._may_be_silent
        if self._transport is None:
            raise Unavailable
        while self._failure is None:
            self._is_silent = True
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(silence_s):
                    await self._has_failed.wait()
            if self._is_silent and not self._has_failed.is_set() and not may_be_silent():
                raise Unavailable
        raise self._failure

    def data_received(self, data: bytes) -> None:
        """Pass on the replies that are complete now."""
        self._is_silent = self._was_owed = False
        try:
            self._parser.feed(data)
            gets, on_reply = self._parser.gets, self._on_reply
            while self._failure is None and (reply := gets()) is not False:
                self._owed -= 1
                on_reply(reply)
        except hiredis.ProtocolError:
            self._fail(Unavailable())
        except Exception as error:  # noqa: BLE001  # for `run` to raise: the loop would only log it
            self._fail(error)

    def eof_received(self) -> None:
        """End `run`, because unsent bytes may keep a half-closed connection from being lost."""
        self._fail(Unavailable())

    def connection_lost(self, exc: Exception | None) -> None:
        """End `run`."""
        del exc
        self._fail(Unavailable())

    def abandon(self) -> None:
        """End `run`, as if the connection had broken."""
        self._fail(Unavailable())

    async def close(self) -> None:
        """Close at once; safe to call at any time."""
        self._transport = None
        await self._connection.disconnect(nowait=True)

    def _flush(self) -> None:
        self._before_flush()
        self._is_flush_due = False
        outgoing, self._outgoing = self._outgoing, []
        # The connection may break in the same turn, and uvloop raises for a write after the close.
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(b"".join(outgoing))

    def _may_be_silent(self) -> bool:
        # Replies owed at the end of a period may be recent, so wait one more.
        was_owed, self._was_owed = self._was_owed, self._owed > 0
        return not (was_owed and self._was_owed)

    def _fail(self, failure: Exception) -> None:
        self._failure = self._failure or failure
        self._has_failed.set()


def stream_entries(rows: list[list[Any]]) -> list[tuple[bytes, Fields]]:
    """Pure: the entries in a reply to XRANGE, each with its fields, as redis-py returns them."""
    return [(id_, dict(zip(row[::2], row[1::2], strict=True))) for id_, row in rows]
