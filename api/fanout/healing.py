"""Brings a tape to where its log is by reading the log: at first, after a gap, after a break."""

import asyncio
from collections.abc import Callable

import structlog

from tickertape.api.fanout.tape import Verdict
from tickertape.api.fanout.watched_log import WatchedLog
from tickertape.broker.codec import START, Cursor, Pushed
from tickertape.broker.errors import EntryMalformed, Unavailable
from tickertape.broker.log import PAGE_ENTRIES, Logs

log = structlog.get_logger()

_GAP = Verdict.GAP
_PAUSE_S = 0.2
# A log that is another one at every look is broken; its readers are told that it is gone.
_MAX_REWINDS = 20


class Healer:
    """Reads logs on, one reading per log at a time; `aclose` ends them all.

    `on_healed` is called when a tape has all there is, `on_gone` when there is no log any more.
    """

    def __init__(
        self,
        logs: Logs,
        *,
        on_healed: Callable[[WatchedLog], None],
        on_gone: Callable[[WatchedLog], None],
    ) -> None:
        self._logs = logs
        self._on_healed = on_healed
        self._on_gone = on_gone
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, watched: WatchedLog) -> None:
        """Begin to read, unless that is under way already."""
        if watched.heal is not None or watched.is_gone:
            return
        task = asyncio.create_task(self._heal(watched), name=f"heal {watched.tape.request_id}")
        watched.heal = task
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def aclose(self) -> None:
        """End all readings; a command that is cut off takes a while to let its connection go."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _heal(self, watched: WatchedLog) -> None:
        try:
            while not watched.is_gone:
                try:
                    is_complete = await self._read_page(watched)
                except Unavailable:
                    await asyncio.sleep(_PAUSE_S)
                    continue
                if is_complete and _merge_early(watched):
                    break
        except EntryMalformed:
            log.exception("log not understood", request_id=watched.tape.request_id)
            self._on_gone(watched)
        finally:
            watched.heal = None
        watched.synced.set()
        self._on_healed(watched)

    async def _read_page(self, watched: WatchedLog) -> bool:
        """Read on from the last entry; True when the end of the log was reached."""
        tape = watched.tape
        known = tape.last
        page = await self._logs.read(tape.request_id, known)
        if not page:
            self._gone_or_rewind(watched, await self._logs.tails([tape.request_id]))
            return False
        if known != START and page[0][0] != known:
            self._rewind(watched)
            return False
        for cursor, value in page:
            if tape.offer(cursor, value, is_first=known == START) is _GAP:
                self._rewind(watched)
                return False
        if len(page) < PAGE_ENTRIES or tape.is_over:
            return True
        watched.wake_all()
        return False

    def _gone_or_rewind(self, watched: WatchedLog, tails: list[Cursor | None]) -> None:
        if tails[0] is None:
            self._on_gone(watched)
        else:
            self._rewind(watched)

    def _rewind(self, watched: WatchedLog) -> None:
        log.warning("log went back in time", request_id=watched.tape.request_id)
        watched.tape.clear()
        watched.epoch += 1
        if watched.epoch > _MAX_REWINDS:
            self._on_gone(watched)
        watched.wake_all()


def merge(watched: WatchedLog, pushed: Pushed) -> bool:
    """Put pushed entries onto a tape; False if entries before them are missing.

    Raises EntryMalformed.
    """
    cursor, offer = pushed.first, watched.tape.offer
    for value in pushed.values:
        if offer(cursor, value) is _GAP:
            return False
        cursor = cursor.next()
    return True


def _merge_early(watched: WatchedLog) -> bool:
    early, watched.early = watched.early, []
    try:
        return all(merge(watched, pushed) for pushed in early)
    except EntryMalformed:
        # Only a push: if the log itself cannot be read, the next page says so.
        return False
