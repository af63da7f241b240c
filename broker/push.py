"""The push connections: entries of all watched logs as they are written, one for each node.

A push is only a hint: Redis may drop a push, and the connection may break silently. The log is the
truth, and the listener reads the log whenever an entry is missing.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import hiredis
from redis.asyncio import Connection

from tickertape.broker.bulk import BulkConnection
from tickertape.broker.connections import Connections
from tickertape.broker.errors import Unavailable
from tickertape.broker.first_reads import FirstRead, FirstReads
from tickertape.broker.keys import Keyspace, partition_of_name
from tickertape.broker.owners import Owners
from tickertape.broker.partition_tags import slot_of
from tickertape.broker.write_state import WriteState, is_demotion

_CHANNELS_PER_COMMAND = 500


class Listener(Protocol):
    """Receives pushes. Called from the push task, so each method must return quickly."""

    def on_subscribed(self, channel: bytes) -> None:
        """Every push on this channel arrives from now on, until the connection breaks."""

    def on_pushed(self, channel: bytes, message: bytes) -> None:
        """A message was pushed on this channel."""


@dataclass
class _Channels:
    """What the lines of all nodes share; `wanted` has the channels of each partition."""

    keys: Keyspace
    listener: Listener
    wanted: list[set[bytes]]
    gains: Counter[int] = field(default_factory=Counter)


class Push:
    """One connection to each node of Redis, and the channels of all partitions.

    `run` owns the connections, reconnects and resubscribes. After each reconnection, and when a
    partition has moved to another node, `on_subscribed` is called again for every channel of it.
    Pushes before that call are lost, so the listener should read the log then. A quiet connection
    is asked for the role of its server every `ping_every_s`, and Redis must answer within the same
    time. A server that was demoted sends no error to its subscribers, so the connection leaves a
    replica, and asks at once when another connection of this process was refused. HELLO is the
    command for that: it needs no right, and it is allowed to subscribers of the protocol's version
    3.
    """

    def __init__(
        self,
        connections: Connections,
        listener: Listener,
        *,
        ping_every_s: float = 2.0,
    ) -> None:
        partitions = connections.partitions.served
        self._channels = _Channels(connections.keys, listener, [set() for _ in range(partitions)])
        self._owners: Owners[_PushLine] = Owners(
            connections,
            partitions,
            lambda node: _PushLine(
                connections.unpooled(node),
                connections.writes,
                self._channels,
                self._owners.redirected,
                ping_every_s,
                # In a cluster, a node may refuse the slot to the one command and not to the other.
                FirstReads() if not connections.is_cluster else None,
            ),
        )
        connections.partitions.listen(lambda: self._resize(connections.partitions.served))

    @property
    def is_up(self) -> bool:
        """Whether pushes of every partition can arrive now."""
        return self._owners.is_complete

    def is_up_for(self, partition: int) -> bool:
        """Whether pushes of this partition can arrive now."""
        return self._owners.serves(partition)

    def gains(self, partition: int) -> int:
        """How often a connection has begun to serve this partition.

        Another count means that another server may have the partition, and may have lost writes.
        """
        return self._channels.gains[partition]

    def subscribe(self, channel: bytes, read: FirstRead | None = None) -> None:
        """Add a channel; `on_subscribed` follows, at the latest after the next reconnection.

        If this connection can also execute `read`, its `on_opening` is called in place of the first
        `on_subscribed`, unless the connection breaks.
        """
        partition = partition_of_name(channel)
        self._resize(partition + 1)
        self._channels.wanted[partition].add(channel)
        if (line := self._line(partition)) is not None:
            line.subscribe(channel, read)

    def unsubscribe(self, channel: bytes) -> None:
        """Remove a channel; a push that is already on its way may still arrive."""
        partition = partition_of_name(channel)
        self._channels.wanted[partition].discard(channel)
        if (line := self._line(partition)) is not None:
            line.unsubscribe(channel)

    async def run(self) -> None:
        """Keep the connections up until cancelled."""
        await self._owners.run()

    def _resize(self, partitions: int) -> None:
        wanted = self._channels.wanted
        wanted += [set() for _ in range(len(wanted), partitions)]
        self._owners.resize(partitions)

    def _line(self, partition: int) -> "_PushLine | None":
        # Only an open connection: a task that connected here would race with `run`.
        line = self._owners.lines[partition]
        return line if line is not None and line.is_open else None


class _PushLine:
    """The push connection to one node."""

    def __init__(
        self,
        connection: Connection,
        writes: WriteState,
        channels: _Channels,
        redirected: Callable[[int, "_PushLine"], None],
        ping_every_s: float,
        reads: FirstReads | None,
    ) -> None:
        self._reads = reads
        self._bulk = BulkConnection(connection, self._on_reply)
        self._writes = writes
        self._channels = channels
        self._redirected = redirected
        self._ping_every_s = ping_every_s
        self._pinged = False
        # Channels that this side gave up, until the node confirms it.
        self._given_up: Counter[bytes] = Counter()
        self._gained: set[int] = set()

    @property
    def is_open(self) -> bool:
        return self._bulk.is_open

    def send(self, *command: str | bytes | int) -> None:
        self._bulk.send(*command)

    def subscribe(self, channel: bytes, read: FirstRead | None) -> None:
        self._subscribe([channel])
        if read is not None and self._reads is not None:
            for command in self._reads.commands(read):
                self.send(*command)

    def _subscribe(self, channels: list[bytes]) -> None:
        self.send(b"SSUBSCRIBE", *channels)
        if self._reads is not None:
            self._reads.subscribes(len(channels))

    def unsubscribe(self, channel: bytes) -> None:
        self._given_up[channel] += 1
        self._bulk.send(b"SUNSUBSCRIBE", channel)

    async def run(self, on_open: Callable[[], None]) -> None:
        await self._bulk.open()
        self._pinged = True
        self.send(b"HELLO", b"3")
        on_open()
        leave = self._bulk.abandon
        with self._writes.watch(on_moved=leave, on_refused=self._ask_role, on_accepted=leave):
            await self._bulk.run(silence_s=self._ping_every_s, on_silence=self._ping)

    async def close(self) -> None:
        await self._bulk.close()

    def gain(self, partition: int) -> None:
        """Subscribe to the channels of a partition; the channels of one command share a slot."""
        self._gained.add(partition)
        self._channels.gains[partition] += 1
        wanted = sorted(self._channels.wanted[partition])
        for at in range(0, len(wanted), _CHANNELS_PER_COMMAND):
            self._subscribe(wanted[at : at + _CHANNELS_PER_COMMAND])

    def lose(self, partition: int) -> None:
        """Leave the channels of a partition, which another node serves now."""
        self._gained.discard(partition)
        for channel in self._channels.wanted[partition]:
            self.unsubscribe(channel)

    def _on_reply(self, reply: Any) -> None:
        self._pinged = False
        match reply:
            case [b"smessage", channel, message]:
                self._channels.listener.on_pushed(channel, message)
            case [b"ssubscribe", channel, _]:
                is_read = self._reads is not None and self._reads.confirm()
                if channel in self._channels.wanted[partition_of_name(channel)] and not is_read:
                    self._channels.listener.on_subscribed(channel)
            case [b"sunsubscribe", bytes(channel), _]:
                self._on_unsubscribed(channel)
            case {b"role": b"replica" | b"slave"}:
                raise Unavailable("Redis is a replica.")
            case hiredis.ReplyError():
                if self._reads is None or not self._reads.answer(None):
                    self._on_error(str(reply))
            case list() | bytes() | None if self._reads is not None:
                self._reads.answer(reply)

    def _on_unsubscribed(self, channel: bytes) -> None:
        if (count := self._given_up.pop(channel, 0)) == 0:
            # The node no longer owns the slot.
            self._refused(partition_of_name(channel))
        elif count > 1:
            self._given_up[channel] = count - 1

    def _on_error(self, error: str) -> None:
        """Leave the partition of a slot that has moved; any other error ends the line."""
        word, _, rest = error.partition(" ")
        slot = rest.partition(" ")[0]
        if word != "MOVED" or not slot.isdecimal():
            if is_demotion(error):
                self._writes.refused(error)
            raise Unavailable(error)
        for partition in list(self._gained):
            if slot_of(self._channels.keys.tag_text(partition)) == int(slot):
                self._refused(partition)

    def _refused(self, partition: int) -> None:
        self._gained.discard(partition)
        for channel in [each for each in self._given_up if partition_of_name(each) == partition]:
            del self._given_up[channel]
        self._redirected(partition, self)

    def _ping(self) -> bool:
        if self._pinged:
            return False
        self._ask_role()
        return True

    def _ask_role(self) -> None:
        self._pinged = True
        self.send(b"HELLO")
