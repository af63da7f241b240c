"""The hot path of writing: all requests of a worker append over one pipelined connection."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, get_args

import hiredis

from tickertape.broker.bulk import BulkConnection
from tickertape.broker.connections import TIMING, Connections, is_denial
from tickertape.broker.errors import Unavailable
from tickertape.broker.faults import crash_at
from tickertape.broker.kinds import AppendOutcome, AppendVerdict
from tickertape.broker.lua import source
from tickertape.broker.pauses import Pauses
from tickertape.broker.write_state import is_demotion
from tickertape.runtime.settings import Settings

# How errors begin that concern the keys of one call, so that other calls may still succeed. Any
# other error means that the server has forgotten the script, or accepts no writes now.
_OF_ONE_CALL = ("ERR ", "WRONGTYPE ")
_VERDICTS: dict[bytes, AppendVerdict] = {word.encode(): word for word in get_args(AppendVerdict)}
# The limit for one attempt's log beside the limit in bytes, because each entry costs memory.
MAX_ENTRIES = 200_000


class Appended(NamedTuple):
    """The verdict of APPEND, and the seq at which the log ends.

    LOST is a call whose outcome is unknown: send the same ids again. REFUSED is a call that Redis
    rejects each time: these ids cannot be written.
    """

    word: AppendOutcome
    seq: int


LOST = Appended("LOST", -1)
REFUSED = Appended("REFUSED", -1)


class Target(NamedTuple):
    """Where the entries of an attempt go. Built once, because each call sends all the names."""

    request_key: bytes
    log_key: bytes
    channel: bytes
    attempt: int


class Appender:
    """Sends APPEND calls without waiting, and passes each reply to its caller.

    A task must execute `run`. Replies come in the order of the calls. When the connection breaks,
    each call without a reply gets LOST, exactly once. A connection that owes a reply for longer
    than `reply_timeout_s` counts as broken.
    """

    def __init__(
        self,
        connections: Connections,
        settings: Settings,
        *,
        reply_timeout_s: float = TIMING.command_timeout_s,
    ) -> None:
        self._connections = connections
        self._keys = connections.keys
        self._reply_timeout_s = reply_timeout_s
        self._max_bytes = settings.max_output_bytes
        self._waiting: deque[Callable[[Appended], None]] = deque()
        self._bulk: BulkConnection | None = None
        self._sha: bytes | None = None
        self._was_owing = False
        self._ready = asyncio.Event()

    def target(self, request_id: str, attempt: int) -> Target:
        """The target of an attempt."""
        return Target(
            self._keys.request(request_id).encode(),
            self._keys.log(request_id).encode(),
            self._keys.log_channel(request_id).encode(),
            attempt,
        )

    @property
    def is_ready(self) -> bool:
        """Whether there is a connection to send on."""
        return self._ready.is_set()

    async def ready(self) -> None:
        """Return when there is a connection to send on."""
        await self._ready.wait()

    def append(
        self,
        to: Target,
        first_seq: int,
        values: Sequence[bytes],
        on_answer: Callable[[Appended], None],
    ) -> None:
        """Append values from the id (attempt, first_seq) on; `on_answer` is called once, later."""
        bulk, sha = self._bulk, self._sha
        if bulk is None or sha is None or not bulk.is_open:
            # The transport may be closing before `run` notices. Clear `ready`, or callers would
            # send again in a tight loop.
            self._ready.clear()
            asyncio.get_running_loop().call_soon(on_answer, LOST)
            return
        crash_at("before", "append")
        self._waiting.append(on_answer)
        bulk.send(
            b"EVALSHA", sha, b"2", to.request_key, to.log_key,
            to.attempt, first_seq, MAX_ENTRIES, self._max_bytes, to.channel, *values,
        )  # fmt: skip

    async def run(self) -> None:
        """Keep a connection up until cancelled."""
        pauses = Pauses()
        while True:
            bulk = BulkConnection(self._connections.unpooled(), self._on_reply)
            try:
                await bulk.open()
                pauses.opened()
                self._bulk, self._was_owing = bulk, False
                bulk.send("SCRIPT", "LOAD", source("append"))
                await bulk.run(silence_s=self._reply_timeout_s / 2, on_silence=self._may_be_silent)
            except Unavailable:
                pass
            finally:
                await self._lose(bulk)
            await asyncio.sleep(pauses.next_s())

    def _on_reply(self, reply: Any) -> None:
        self._was_owing = False
        if self._sha is None:
            if isinstance(reply, hiredis.ReplyError):
                raise self._refused(str(reply))
            self._sha = reply
            self._ready.set()
            return
        on_answer = self._waiting.popleft()
        if isinstance(reply, hiredis.ReplyError):
            if str(reply).startswith(_OF_ONE_CALL) and not is_denial(reply):
                on_answer(REFUSED)
                return
            on_answer(LOST)
            raise self._refused(str(reply))
        crash_at("after", "append")
        on_answer(Appended(_VERDICTS[reply[0]], _seq(reply[1])))

    def _refused(self, reply: str) -> Unavailable:
        if is_demotion(reply):
            self._connections.writes.refused(reply)
        return Unavailable(reply)

    def _may_be_silent(self) -> bool:
        # A connection is dead if it owed replies for a full period and received nothing. Replies
        # owed at the end of a period may be recent, so wait one more.
        owes = bool(self._waiting) or self._sha is None
        was_owing, self._was_owing = self._was_owing, owes
        return not (owes and was_owing)

    async def _lose(self, bulk: BulkConnection) -> None:
        self._bulk = self._sha = None
        self._ready.clear()
        lost, self._waiting = self._waiting, deque()
        for on_answer in lost:
            on_answer(LOST)
        await bulk.close()


def _seq(detail: bytes | int) -> int:
    return detail if isinstance(detail, int) else -1
