"""The flush rule: how the pieces of one attempt become appends.

The first piece is sent at once. From then on, one append is under way, and the pieces that arrive
until its reply are sent together in the next append. A fast Redis gets each piece alone, a slow
Redis gets fewer and larger appends. There is no timer, and the upstream never waits for a reply.
"""

import asyncio
from collections.abc import Callable

from tickertape.broker.appender import Appended, Appender
from tickertape.broker.leases import Lease
from tickertape.worker.outcome import Stop

# With more unacknowledged entries than this, the upstream has to wait for Redis.
MAX_UNACKED_ENTRIES = 2000
_MAX_ENTRIES_PER_CALL = 500


class LogWriter:
    """Writes the entries of one attempt, in order, from seq 1 on.

    `on_stop` is called once if no more can be written: FENCED, LOG_FULL or LOG_LOST.
    """

    def __init__(self, appender: Appender, lease: Lease, on_stop: Callable[[Stop], None]) -> None:
        self._appender = appender
        self._target = appender.target(lease.request_id, lease.attempt)
        self._on_stop = on_stop
        self._acked_seq = 0
        self._unacked: list[bytes] = []
        self._is_under_way = False
        self._is_closed = False
        self._changed = asyncio.Event()
        self._resending: asyncio.Task[None] | None = None

    @property
    def first_unacked_seq(self) -> int:
        """The seq of `unacked[0]`, or of the next entry if all are acknowledged."""
        return self._acked_seq + 1

    @property
    def unacked(self) -> list[bytes]:
        """The entries that Redis has not acknowledged. Some may be in the log already."""
        return list(self._unacked)

    def write(self, values: list[bytes]) -> bool:
        """Write entries as soon as the flush rule allows; never waits.

        The result says whether few enough entries are unacknowledged.
        """
        self._unacked += values
        if not self._is_under_way:
            self._pump()
        return len(self._unacked) <= MAX_UNACKED_ENTRIES

    async def room(self) -> None:
        """Return when there is room, or when nothing more can be written."""
        while len(self._unacked) > MAX_UNACKED_ENTRIES and not self._is_closed:
            await self._change()

    async def flushed(self) -> None:
        """Return when all entries are in the log, or can no longer be written."""
        while self._unacked and not self._is_closed:
            await self._change()

    def accept(self, server_seq: int) -> bool:
        """Accept `server_seq` as the end of the log; False if the server has lost entries."""
        if server_seq < self._acked_seq:
            return False
        del self._unacked[: server_seq - self._acked_seq]
        self._acked_seq = server_seq
        return True

    def drop(self) -> None:
        """Discard the unacknowledged entries, because the log has no room for them."""
        self._unacked.clear()

    def fenced(self) -> None:
        """Stop the attempt, because Redis has refused to record something for it."""
        if not self._is_closed:
            self._stop(Stop.FENCED)

    def lost(self) -> None:
        """Stop the attempt, because Redis has lost entries that were acknowledged."""
        if not self._is_closed:
            self._stop(Stop.LOG_LOST)

    def close(self) -> None:
        """Write nothing more. Later replies are ignored."""
        self._is_closed = True
        self._changed.set()
        if self._resending is not None:
            self._resending.cancel()

    def _pump(self) -> None:
        """Send what is there; no append may be under way."""
        if self._unacked and not self._is_closed:
            self._is_under_way = True
            values = self._unacked[:_MAX_ENTRIES_PER_CALL]
            self._appender.append(self._target, self._acked_seq + 1, values, self._on_answer)

    def _on_answer(self, answer: Appended) -> None:
        if self._is_closed:
            return
        if answer.word == "LOST":
            self._resending = asyncio.create_task(self._resend(), name="log writer: resend")
            return
        self._is_under_way = False
        if answer.word == "FENCED":
            self._stop(Stop.FENCED)
        elif answer.word == "TOO_LONG":
            self.drop()
            self._stop(Stop.LOG_FULL)
        elif answer.word == "REFUSED" or not self.accept(answer.seq):
            self._stop(Stop.LOG_LOST)
        else:
            self._changed.set()
            self._pump()

    async def _change(self) -> None:
        """Return when entries were acknowledged, or when nothing more can be written."""
        self._changed.clear()
        await self._changed.wait()

    async def _resend(self) -> None:
        # The ids stay the same, and the script skips the entries that did arrive.
        await self._appender.ready(self._target)
        self._is_under_way = False
        self._pump()

    def _stop(self, reason: Stop) -> None:
        self.close()
        self._on_stop(reason)
