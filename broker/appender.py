"""The hot path of writing: a worker appends over one pipelined connection to each node."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, get_args

import hiredis
import msgspec
from redis.asyncio import Connection

from tickertape.broker.bulk import BulkConnection
from tickertape.broker.connections import TIMING, Connections
from tickertape.broker.errors import Unavailable
from tickertape.broker.faults import crash_at
from tickertape.broker.kinds import AppendOutcome, AppendVerdict
from tickertape.broker.lua import source
from tickertape.broker.owners import Owners, is_redirection
from tickertape.broker.redis_errors import is_denial
from tickertape.broker.request_ids import partition_of
from tickertape.broker.write_state import WriteState, is_demotion
from tickertape.runtime.settings import Settings

# How errors begin that concern the keys of one call, so that other calls may still succeed. Any
# other error means that the server has forgotten the script, or accepts no writes now.
_OF_ONE_CALL = ("ERR ", "WRONGTYPE ")
_REFUSED = b"REFUSED"
_NO_SEQ = -1
_VERDICTS: dict[bytes, AppendVerdict] = {word.encode(): word for word in get_args(AppendVerdict)}
# One call is for at most so many requests, and for about so many entries, because Redis serves
# nobody else while a script runs.
_MOST_REQUESTS = 64
_MANY_ENTRIES = 500
# The limit for one attempt's log beside the limit in bytes, because each entry costs memory.
MAX_ENTRIES = 200_000


class Appended(NamedTuple):
    """The verdict of APPEND, and the seq at which the log ends.

    LOST is a call whose outcome is unknown: send the same ids again. REFUSED is a call that Redis
    rejects each time: these ids cannot be written.
    """

    word: AppendOutcome
    seq: int


LOST = Appended("LOST", _NO_SEQ)
REFUSED = Appended("REFUSED", _NO_SEQ)


class Target(NamedTuple):
    """Where the entries of an attempt go. Built once, because each call sends all the names."""

    request_key: bytes
    log_key: bytes
    channel: bytes
    attempt: int
    partition: int


class _Call(msgspec.Struct, frozen=True):
    """The entries of one request, and its caller."""

    to: Target
    first_seq: int
    values: Sequence[bytes]
    on_answer: Callable[[Appended], None]


class Appender:
    """Sends APPEND calls without waiting, and passes each reply to its caller.

    Calls for one partition that are made in the same turn of the event loop are one call of the
    script, because running a script costs Redis a third of an append.

    All requests of a node of Redis share one pipelined connection. A task must execute `run`. The
    replies of one node come in the order of the calls. Each call that has no reply when the
    connection breaks, or whose node does not serve the partition now, gets LOST, exactly once. A
    connection that owes a reply for longer than `reply_timeout_s` counts as broken.
    """

    def __init__(
        self,
        connections: Connections,
        settings: Settings,
        *,
        reply_timeout_s: float = TIMING.command_timeout_s,
    ) -> None:
        self._keys = connections.keys
        self._owners: Owners[_AppendLine] = Owners(
            connections,
            connections.partitions.served,
            lambda node: _AppendLine(
                connections.unpooled(node),
                connections.writes,
                self._owners.redirected,
                settings.max_output_bytes,
                reply_timeout_s,
            ),
        )
        connections.partitions.listen(lambda: self._owners.resize(connections.partitions.served))

    def target(self, request_id: str, attempt: int) -> Target:
        """The target of an attempt."""
        return Target(
            self._keys.request(request_id).encode(),
            self._keys.log(request_id).encode(),
            self._keys.log_channel(request_id).encode(),
            attempt,
            partition_of(request_id),
        )

    @property
    def is_ready(self) -> bool:
        """Whether there is a connection for every partition."""
        return self._owners.is_complete

    async def ready(self, to: Target | None = None) -> None:
        """Return when there is a connection for a target; without one, for every partition."""
        if to is None:
            await self._owners.all_served()
        else:
            await self._owners.served(to.partition)

    def append(
        self,
        to: Target,
        first_seq: int,
        values: Sequence[bytes],
        on_answer: Callable[[Appended], None],
    ) -> None:
        """Append values from the id (attempt, first_seq) on; `on_answer` is called once, later."""
        line = self._owners.lines[to.partition]
        if line is None or not line.append(_Call(to, first_seq, values, on_answer)):
            # The transport may be closing before the line's task notices. Clear `ready`, or callers
            # would send again in a tight loop.
            self._owners.broken(to.partition)
            asyncio.get_running_loop().call_soon(on_answer, LOST)

    async def run(self) -> None:
        """Keep the connections up until cancelled."""
        await self._owners.run()


class _AppendLine:
    """The pipelined connection to one node."""

    def __init__(
        self,
        connection: Connection,
        writes: WriteState,
        redirected: Callable[[int, "_AppendLine"], None],
        max_bytes: int,
        reply_timeout_s: float,
    ) -> None:
        self._bulk = BulkConnection(connection, self._on_reply, self._send_all)
        self._writes = writes
        self._redirected = redirected
        self._max_bytes = max_bytes
        self._reply_timeout_s = reply_timeout_s
        # The calls of this turn, for each partition; then those of each call of the script.
        self._collected: dict[int, list[_Call]] = {}
        self._waiting: deque[list[_Call]] = deque()
        # Partitions whose requests get a call of the script each, because Redis refused a call as a
        # whole: while keys move to another node one by one, it refuses a call if one key has left.
        self._apart: set[int] = set()
        self._on_open: Callable[[], None] = lambda: None
        self._sha = b""

    @property
    def is_open(self) -> bool:
        return bool(self._sha) and self._bulk.is_open

    def append(self, call: _Call) -> bool:
        """Send a call at the end of this turn; False if the connection is known to be broken."""
        if not self._collected:
            # The calls that follow in this turn leave with this one, or are lost with it.
            if not self.is_open:
                return False
            self._bulk.flush_soon()
        self._collected.setdefault(call.to.partition, []).append(call)
        return True

    async def run(self, on_open: Callable[[], None]) -> None:
        self._on_open = on_open
        await self._bulk.open()
        self._bulk.send("SCRIPT", "LOAD", source("append"))
        with self._writes.watch(on_moved=self._bulk.abandon):
            await self._bulk.run(silence_s=self._reply_timeout_s / 2)

    async def close(self) -> None:
        lost = [*self._waiting, *self._collected.values()]
        self._waiting, self._collected = deque(), {}
        for calls in lost:
            _lose(calls)
        await self._bulk.close()

    def gain(self, partition: int) -> None:
        """Nothing to do: calls name their partition."""

    def lose(self, partition: int) -> None:
        """Nothing to do: the replies to calls under way still count."""

    def _send_all(self) -> None:
        collected, self._collected = self._collected, {}
        for partition, calls in collected.items():
            for part in _parts(calls, 1 if partition in self._apart else _MOST_REQUESTS):
                self._send(part)

    def _send(self, calls: list[_Call]) -> None:
        keys: list[bytes] = []
        arguments: list[bytes | int] = []
        for call in calls:
            to, values = call.to, call.values
            keys += (to.request_key, to.log_key)
            arguments += (to.attempt, call.first_seq, to.channel, len(values), *values)
        crash_at("before", "append")
        self._waiting.append(calls)
        self._bulk.send(
            b"EVALSHA", self._sha, len(keys), *keys, MAX_ENTRIES, self._max_bytes, *arguments
        )

    def _on_reply(self, reply: Any) -> None:
        if not self._sha:
            if isinstance(reply, hiredis.ReplyError):
                raise self._refused(str(reply))
            self._sha = reply
            self._on_open()
            return
        calls = self._waiting.popleft()
        if isinstance(reply, hiredis.ReplyError):
            self._on_error(reply, calls)
            return
        crash_at("after", "append")
        for call, word, detail in zip(calls, reply[::2], reply[1::2], strict=True):
            if word == _REFUSED:
                call.on_answer(REFUSED)
                continue
            seq = detail if isinstance(detail, int) else _NO_SEQ
            call.on_answer(Appended(_VERDICTS[word], seq))

    def _on_error(self, error: hiredis.ReplyError, calls: list[_Call]) -> None:
        """Answer calls that Redis refused together; the callers send the same ids again."""
        partition = calls[0].to.partition
        is_moving = is_redirection(error)
        is_of_keys = str(error).startswith(_OF_ONE_CALL) and not is_denial(error)
        if is_of_keys and len(calls) == 1:
            calls[0].on_answer(REFUSED)
            return
        if is_moving or is_of_keys:
            self._apart.add(partition)
        if is_moving:
            # The partition has moved, or is about to.
            self._redirected(partition, self)
        _lose(calls)
        if not is_moving and not is_of_keys:
            raise self._refused(str(error))

    def _refused(self, reply: str) -> Unavailable:
        if is_demotion(reply):
            self._writes.refused(reply)
        return Unavailable(reply)


def _lose(calls: Iterable[_Call]) -> None:
    for call in calls:
        call.on_answer(LOST)


def _parts(calls: list[_Call], most: int) -> Iterator[list[_Call]]:
    """The same calls in parts of bounded size, in order."""
    part: list[_Call] = []
    entries = 0
    for call in calls:
        if part and (len(part) == most or entries + len(call.values) > _MANY_ENTRIES):
            yield part
            part, entries = [], 0
        part.append(call)
        entries += len(call.values)
    yield part
