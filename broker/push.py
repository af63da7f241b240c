"""The push connection: entries of all watched logs as they are written, over one connection.

A push is only a hint: Redis may drop a push, and the connection may break silently. The log is the
truth, and the listener reads the log whenever an entry is missing.
"""

import asyncio
from typing import Any, Protocol

import hiredis

from tickertape.broker.bulk import BulkConnection
from tickertape.broker.connections import Connections
from tickertape.broker.errors import Unavailable
from tickertape.broker.pauses import Pauses
from tickertape.broker.write_state import is_demotion

_CHANNELS_PER_COMMAND = 500


class Listener(Protocol):
    """Receives pushes. Called from the push task, so each method must return quickly."""

    def on_subscribed(self, channel: bytes) -> None:
        """Every push on this channel arrives from now on, until the connection breaks."""

    def on_pushed(self, channel: bytes, message: bytes) -> None:
        """A message was pushed on this channel."""


class Push:
    """One connection and its channels; `run` owns the connection, reconnects and resubscribes.

    After each reconnection, `on_subscribed` is called again for every channel. Pushes before that
    call are lost, so the listener should read the log then. A quiet connection is asked for the
    role of its server every `ping_every_s`, and Redis must answer within the same time. A server
    that was demoted sends no error to its subscribers, so the connection leaves a replica, and asks
    at once when another connection of this process was refused. HELLO is the command for that: it
    needs no right, and it is allowed to subscribers of the protocol's version 3.
    """

    def __init__(
        self, connections: Connections, listener: Listener, *, ping_every_s: float = 2.0
    ) -> None:
        self._ping_every_s = ping_every_s
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
        """Add a channel; `on_subscribed` follows, at the latest after the next reconnection."""
        self._wanted.add(channel)
        self._send(b"SSUBSCRIBE", channel)

    def unsubscribe(self, channel: bytes) -> None:
        """Remove a channel; a push that is already on its way may still arrive."""
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
                self._bulk, self._pinged = bulk, True
                bulk.send(b"HELLO", b"3")
                self._resubscribe(bulk)
                with self._connections.writes.watch(self._ask_role, bulk.abandon):
                    await bulk.run(silence_s=self._ping_every_s, on_silence=self._ping)
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
        # Only on an open connection: a task that connected here would race with `run`.
        if self._bulk is not None and self._bulk.is_open:
            self._bulk.send(*command)

    def _on_reply(self, reply: Any) -> None:
        self._pinged = False
        match reply:
            case [b"smessage", channel, message]:
                self._listener.on_pushed(channel, message)
            case [b"ssubscribe", channel, _] if channel in self._wanted:
                self._listener.on_subscribed(channel)
            case {b"role": b"replica" | b"slave"}:
                raise Unavailable("Redis is a replica.")
            case hiredis.ReplyError():
                reply_text = str(reply)
                if is_demotion(reply_text):
                    self._connections.writes.refused(reply_text)
                raise Unavailable(reply_text)

    def _ping(self) -> bool:
        if self._pinged:
            return False
        self._ask_role()
        return True

    def _ask_role(self) -> None:
        self._pinged = True
        self._send(b"HELLO")
