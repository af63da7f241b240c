"""The push connection: entries of all watched logs as they are written, over one connection.

What comes here is a hint that is usually right: Redis may drop it, and this connection may break
without a word. The log stays the truth, and whoever listens reads it whenever something is missing.
"""

import asyncio
from typing import Any, Protocol

import hiredis

from tickertape.broker.bulk import BulkConnection
from tickertape.broker.connections import Connections
from tickertape.broker.errors import Unavailable
from tickertape.broker.pauses import Pauses

# A quiet connection is asked for a sign of life this often, and given the same time to answer.
PING_EVERY_S = 2.0
_CHANNELS_PER_COMMAND = 500


class Listener(Protocol):
    """Who is told. Called from the push task: quick, and without await."""

    def on_subscribed(self, channel: bytes) -> None:
        """From now on every push on this channel arrives, until the connection breaks."""

    def on_pushed(self, channel: bytes, message: bytes) -> None:
        """Something was pushed."""


class Push:
    """One connection and the channels wanted on it; `run` owns it, reconnects and resubscribes.

    After each reconnection `on_subscribed` comes again for every channel: what was pushed in
    between is lost, so that is the moment to read.
    """

    def __init__(self, connections: Connections, listener: Listener) -> None:
        self._connections = connections
        self._listener = listener
        self._wanted: set[bytes] = set()
        self._bulk: BulkConnection | None = None
        self._pinged = False

    @property
    def is_up(self) -> bool:
        """Whether pushes can arrive now."""
        return self._bulk is not None and self._bulk.is_open

    def subscribe(self, channel: bytes) -> None:
        """Want a channel; `on_subscribed` follows, at the latest after the next reconnection."""
        self._wanted.add(channel)
        self._send(b"SSUBSCRIBE", channel)

    def unsubscribe(self, channel: bytes) -> None:
        """Want a channel no more; a push already under way may still arrive."""
        self._wanted.discard(channel)
        self._send(b"SUNSUBSCRIBE", channel)

    async def run(self) -> None:
        """Keep the connection up until cancelled."""
        pauses = Pauses()
        while True:
            bulk = BulkConnection(self._connections.unpooled(), self._on_reply)
            try:
                await bulk.open()
                pauses.opened()
                self._bulk, self._pinged = bulk, False
                self._resubscribe(bulk)
                await bulk.run(silence_s=PING_EVERY_S, on_silence=self._ping)
            except Unavailable:
                pass
            finally:
                self._bulk = None
                await bulk.close()
            await asyncio.sleep(pauses.next_s())

    def _resubscribe(self, bulk: BulkConnection) -> None:
        wanted = sorted(self._wanted)
        for at in range(0, len(wanted), _CHANNELS_PER_COMMAND):
            bulk.send(b"SSUBSCRIBE", *wanted[at : at + _CHANNELS_PER_COMMAND])

    def _send(self, *command: bytes) -> None:
        # Only ever on a live connection: a task that connected on its own here would race `run`.
        if self._bulk is not None and self._bulk.is_open:
            self._bulk.send(*command)

    def _on_reply(self, reply: Any) -> None:
        self._pinged = False
        match reply:
            case [b"smessage", channel, message]:
                self._listener.on_pushed(channel, message)
            case [b"ssubscribe", channel, _] if channel in self._wanted:
                self._listener.on_subscribed(channel)
            case hiredis.ReplyError():
                raise Unavailable(str(reply))

    def _ping(self) -> bool:
        if self._pinged:
            return False
        self._pinged = True
        self._send(b"PING")
        return True
