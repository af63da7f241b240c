"""Reads logs to bring tapes up to date: at the start, after a gap, after a lost connection."""

import asyncio
from collections.abc import Callable

import msgspec
import structlog

from tickertape.api.fanout.fanout_counts import FanoutCounts, HealCause
from tickertape.api.fanout.tape import Verdict
from tickertape.api.fanout.watched_log import WatchedLog, merge
from tickertape.broker.codec import START, Cursor
from tickertape.broker.errors import EntryMalformed, Unavailable
from tickertape.broker.first_reads import Opening
from tickertape.broker.log import Logs

log = structlog.get_logger()

_GAP = Verdict.GAP


class Healer:
    """Reads logs in tasks, one task per log at a time; `aclose` cancels them all.

    `on_healed` is called when a tape has reached the end of its log, `on_gone` when the log does
    not exist.
    """

    def __init__(
        self,
        logs: Logs,
        *,
        on_healed: Callable[[WatchedLog], None],
        on_gone: Callable[[WatchedLog], None],
        pause_s: float,
        max_rewinds: int,
        counts: FanoutCounts,
    ) -> None:
        self._counts = counts
        self._pause_s = pause_s
        self._max_rewinds = max_rewinds
        self._logs = logs
        self._on_healed = on_healed
        self._on_gone = on_gone
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, watched: WatchedLog, cause: HealCause) -> None:
        """Start reading a log, unless a task reads it already."""
        if watched.heal is not None or watched.is_gone:
            return
        self._counts.heals[cause] += 1
        task = asyncio.create_task(self._heal(watched), name=f"heal {watched.tape.request_id}")
        watched.heal = task
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def opened(self, watched: WatchedLog, opening: Opening | None) -> None:
        """Take what was read of a log behind its subscription; None if Redis refused.

        What does not fit is read again, and so is the rest of a longer log.
        """
        if watched.heal is not None or watched.is_gone:
            return
        # A log that was read before its subscription may have grown between the two.
        if opening is None or watched.synced.is_set() or not _take_whole(watched, opening):
            self.start(watched, "opened")
            return
        self._counts.heals["opened"] += 1
        watched.synced.set()
        self._on_healed(watched)

    async def aclose(self) -> None:
        """Cancel all tasks, and wait until their commands have released their connections."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _heal(self, watched: WatchedLog) -> None:
        try:
            while not watched.is_gone:
                try:
                    is_complete = await self._read_page(watched)
                except Unavailable:
                    await asyncio.sleep(self._pause_s)
                    continue
                if is_complete and _merge_early(watched):
                    break
        except Exception:
            # An entry of another form, or a key of another type. Readers of other logs go on.
            log.exception("log not understood", request_id=watched.tape.request_id)
            self._on_gone(watched)
        finally:
            watched.heal = None
        watched.synced.set()
        self._on_healed(watched)

    async def _read_page(self, watched: WatchedLog) -> bool:
        """Read one page behind the last entry; True if the end of the log was reached."""
        tape = watched.tape
        known = tape.last
        page = await self._logs.read_page(tape.request_id, known)
        if not page.segments:
            self._gone_or_rewind(watched, await self._logs.tails([tape.request_id]))
            return False
        if known != START and next(page.entries())[0] != known:
            self._rewind(watched)
            return False
        for number, part in enumerate(page.parts()):
            if number > 0:
                # A segment of a compacted log may hold very many entries, and others need turns.
                watched.wake_all()
                await asyncio.sleep(0)
            for cursor, value in part:
                if tape.offer(cursor, value, is_first=known == START) is _GAP:
                    self._rewind(watched)
                    return False
        if page.is_last or tape.is_over:
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
        self._counts.rewinds += 1
        watched.tape.clear()
        watched.epoch += 1
        if watched.epoch > self._max_rewinds:
            self._on_gone(watched)
        watched.wake_all()


def _take_whole(watched: WatchedLog, opening: Opening) -> bool:
    """Add the entries of a short log to a new tape; False if it has others, too."""
    tape, page = watched.tape, opening.page
    if tape.last != START or any(segment.parts for segment in page.segments):
        return False
    try:
        for cursor, value in page.entries():
            if tape.offer(cursor, value, is_first=True) is _GAP:
                return False
    except EntryMalformed:
        return False
    if opening.waiting:
        watched.keep_notice("waiting", msgspec.json.decode(opening.waiting))
    is_whole = bool(page.segments) and (page.is_last or tape.is_over)
    return is_whole and _merge_early(watched)


def _merge_early(watched: WatchedLog) -> bool:
    early, watched.early = watched.early, []
    try:
        return all(merge(watched, pushed) for pushed in early)
    except EntryMalformed:
        # The push may be at fault. If the log itself is unreadable, the next page shows that.
        return False
