"""A log that readers of this process watch: its tape, its listeners, and its notices."""

import asyncio
from collections.abc import Callable

from tickertape.api.fanout.log_ends import LogEnd
from tickertape.api.fanout.tape import Tape, Verdict
from tickertape.broker.codec import START, Pushed
from tickertape.runtime.json_types import JsonObject

_GAP = Verdict.GAP

NoticeListener = Callable[[str, JsonObject], None]


class WatchedLog:
    """A tape that the hub keeps up to date, and its listeners.

    `synced` is set once the tape holds what was in the log when watching began. `epoch` counts how
    many times the log was replaced by another one, which voids every position. `is_gone`: the log
    expired or was erased, and no entry will follow. `holders` counts the responses and connections
    that need the tape. `early` collects pushes that arrive while the log is being read.
    """

    __slots__ = (
        "__weakref__",
        "_noticed_at",
        "channel",
        "early",
        "end",
        "epoch",
        "heal",
        "held_bytes",
        "holders",
        "is_gone",
        "notice_listeners",
        "notices",
        "pool",
        "synced",
        "tape",
        "tenant",
        "wakes",
    )

    def __init__(self, request_id: str, channel: bytes) -> None:
        self.tape = Tape(request_id)
        self.channel = channel
        self.synced = asyncio.Event()
        self.is_gone = False
        self.epoch = 0
        self.holders = 0
        # Set when the log has ended.
        self.end: LogEnd | None = None
        # The size when it was last looked up, under which the tape is accounted for.
        self.held_bytes = 0
        # The newest notice of each kind, for readers that join while the request waits.
        self.notices: dict[str, JsonObject] = {}
        self._noticed_at = START
        self.tenant = self.pool = ""
        # Tuples are replaced, never mutated, because a listener may join or leave while we iterate.
        self.wakes: tuple[Callable[[], None], ...] = ()
        self.notice_listeners: tuple[NoticeListener, ...] = ()
        self.early: list[Pushed] = []
        self.heal: asyncio.Task[None] | None = None

    def measure(self) -> int:
        """Look up the size of the tape in bytes, which is in `held_bytes` from then on.

        Takes time per entry.
        """
        self.held_bytes = self.tape.size_bytes
        return self.held_bytes

    def wake_all(self) -> None:
        """Notify all listeners that the tape may have changed."""
        if self.notices and self.tape.last != self._noticed_at:
            # A new entry ends whatever the request waited for.
            self.notices.clear()
        for wake in self.wakes:
            wake()

    def listen(self, wake: Callable[[], None], on_notice: NoticeListener | None = None) -> None:
        """Call `wake` after every change of the tape, and `on_notice` with every notice."""
        self.wakes += (wake,)
        if on_notice is not None:
            self.notice_listeners += (on_notice,)

    def leave(self, wake: Callable[[], None], on_notice: NoticeListener | None = None) -> None:
        """Undo `listen`."""
        self.wakes = tuple(each for each in self.wakes if each != wake)
        self.notice_listeners = tuple(each for each in self.notice_listeners if each != on_notice)

    def keep_notice(self, kind: str, data: JsonObject) -> None:
        """Keep a notice for readers that join before the next entry comes."""
        self.notices[kind] = data
        self._noticed_at = self.tape.last

    def publish_notice(self, kind: str, data: JsonObject) -> None:
        """Keep a notice, and pass it to all listeners."""
        self.keep_notice(kind, data)
        for on_notice in self.notice_listeners:
            on_notice(kind, data)


def merge(watched: WatchedLog, pushed: Pushed) -> bool:
    """Add pushed entries to a tape; False if entries before them are missing.

    Entries that the tape has already are skipped. Raises EntryMalformed.
    """
    cursor, values, offer = pushed.first, pushed.values, watched.tape.offer
    # Nearly all pushes have one entry, behind which no id is needed.
    if len(values) == 1:
        return offer(cursor, values[0]) is not _GAP
    for value in values:
        if offer(cursor, value) is _GAP:
            return False
        cursor = cursor.next()
    return True
