"""Commands on one pipelined connection, which all tasks of a process share.

A call through redis-py takes a connection of a pool, and waits for the connection's streams in
several awaits, which costs many times the call itself. Here a call is one write and one future.

Only good replies come from here. A call that met an error, or lost its reply, is made again through
redis-py, which every script and each read allows. So the repeats, the loading of forgotten scripts
and the meaning of errors are in one place.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

import hiredis
from redis.asyncio import Connection

from tickertape.broker.bulk import BulkConnection
from tickertape.broker.errors import Unavailable
from tickertape.broker.pauses import Pauses
from tickertape.broker.redis_errors import in_time
from tickertape.broker.script_header import Argument
from tickertape.broker.task_faults import TaskFaults
from tickertape.broker.write_state import WriteState, is_demotion
from tickertape.runtime.fair_turns import TENANT, FairTurns

# In place of a reply: make the call in another way.
LOST: Final = object()
# Redis reads the commands of a connection in order, so a large one would delay those behind it.
_MOST_BYTES = 65_536


class SharedLine:
    """The connection `name` to one server; without a task that executes `run`, it stays closed.

    `turns` are those of the pool of connections, so tenants share the calls under way in the same
    way. A connection that owes a reply for longer than `reply_timeout_s` counts as broken.
    """

    def __init__(
        self,
        name: str,
        connect: Callable[[], Connection],
        writes: WriteState,
        faults: TaskFaults,
        turns: FairTurns,
        *,
        reply_timeout_s: float,
    ) -> None:
        self._name = name
        self._connect = connect
        self._writes = writes
        self._faults = faults
        self._turns = turns
        self._reply_timeout_s = reply_timeout_s
        self._bulk: BulkConnection | None = None
        # Each with the time, on the loop's clock, at which its caller gives up.
        self._waiting: deque[tuple[asyncio.Future[Any], float]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        # uvloop's handle of a call that is due at once has no `when`.
        self._timer_due_s = 0.0
        self._loop: asyncio.AbstractEventLoop

    @property
    def is_open(self) -> bool:
        """Whether calls reach a connection that is not known to be broken."""
        return self._bulk is not None and self._bulk.is_open

    async def call(
        self, sha: str, keys: Sequence[str], arguments: Sequence[Argument], limit_s: float
    ) -> Any:
        """The reply of a script, or LOST.

        Raises Unavailable after `limit_s` with an unknown outcome.
        """
        if _is_large(arguments):
            return LOST
        return await self.ask("EVALSHA", sha, len(keys), *keys, *arguments, limit_s=limit_s)

    async def ask(self, *command: str | bytes | float, limit_s: float) -> Any:
        """The reply of a command that may be sent twice, in the shape of RESP2, or LOST.

        Waits until the tenant has a turn. Raises Unavailable after `limit_s` with an unknown
        outcome.
        """
        if not self.is_open:
            return LOST
        tenant = TENANT.get()
        # Most calls come while a turn is free. Those that wait stay on the line: in a flood, all
        # calls wait, and through redis-py each of them would cost several times as much.
        if not self._turns.take_free(tenant):
            began_s = time.monotonic()
            async with in_time(limit_s):
                await self._turns.take(tenant)
            limit_s -= time.monotonic() - began_s
        try:
            return await self._sent(command, limit_s)
        finally:
            self._turns.give_back(tenant)

    async def _sent(self, command: Sequence[str | bytes | float], limit_s: float) -> Any:
        bulk = self._bulk
        if bulk is None or not bulk.is_open:
            return LOST
        reply: asyncio.Future[Any] = self._loop.create_future()
        due_s = self._loop.time() + limit_s
        bulk.send(*command)
        self._waiting.append((reply, due_s))
        self._limit(due_s)
        return await reply

    def _limit(self, due_s: float) -> None:
        """Give up what is late at this time. A timer for each reply would cost more than to send.

        So there is one timer, which keeps running when its reply has come.
        """
        if self._timer is None or due_s < self._timer_due_s:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_at(due_s, self._give_up)
            self._timer_due_s = due_s

    def _give_up(self) -> None:
        self._timer = None
        now_s, due = self._loop.time(), list[float]()
        for reply, due_s in self._waiting:
            if reply.done():
                continue
            if due_s <= now_s:
                reply.set_exception(Unavailable())
            else:
                due.append(due_s)
        if due:
            self._limit(min(due))

    async def run(self) -> None:
        """Keep the connection up until cancelled."""
        pauses = Pauses()
        while True:
            with self._faults.contain(self._name):
                await self._serve(pauses)
            await asyncio.sleep(pauses.next_s())

    async def _serve(self, pauses: Pauses) -> None:
        self._loop = asyncio.get_running_loop()
        bulk = BulkConnection(self._connect(), self._on_reply)
        leave = bulk.abandon
        try:
            with self._writes.watch(on_moved=leave, on_refused=leave):
                await bulk.open()
                pauses.opened()
                self._faults.worked(self._name)
                self._bulk = bulk
                await bulk.run(silence_s=self._reply_timeout_s / 2)
        finally:
            self._bulk = None
            lost, self._waiting = self._waiting, deque()
            for reply, _ in lost:
                _settle(reply, LOST)
            await bulk.close()

    def _on_reply(self, reply: Any) -> None:
        waiting, _ = self._waiting.popleft()
        if not isinstance(reply, hiredis.ReplyError):
            _settle(waiting, reply)
            return
        _settle(waiting, LOST)
        if is_demotion(error := str(reply)):
            # The repeated call may find the new primary, and then nobody else would leave here.
            self._writes.refused(error)
            raise Unavailable(error)


def _settle(waiting: asyncio.Future[Any], reply: Any) -> None:
    if not waiting.done():
        waiting.set_result(reply)


def _is_large(arguments: Sequence[Argument]) -> bool:
    size = 0
    # A generator would take twice as long for the forty arguments of a submit.
    for each in arguments:
        if isinstance(each, (str, bytes)):
            size += len(each)
    return size > _MOST_BYTES
