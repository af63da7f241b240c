"""A log that is watched: its tape, who listens to it, and how far it is known."""

import asyncio
from collections.abc import Callable
from typing import Any

from tickertape.api.fanout.tape import Tape
from tickertape.broker import keys
from tickertape.broker.codec import START, Pushed

NoticeListener = Callable[[str, dict[str, Any]], None]


class WatchedLog:
    """A tape that is kept up to date, and who listens to it.

    `is_gone` says that the log expired or was erased: there will be no more.
    """

    __slots__ = (
        "_noticed_at",
        "cached_bytes",
        "channel",
        "early",
        "epoch",
        "heal",
        "holders",
        "is_gone",
        "notice_listeners",
        "notices",
        "synced",
        "tape",
        "tenant",
        "wakes",
    )

    def __init__(self, request_id: str) -> None:
        self.tape = Tape(request_id)
        self.channel = keys.log_channel(request_id).encode()
        self.synced = asyncio.Event()
        self.is_gone = False
        self.epoch = 0
        self.holders = 0
        # What it counts for in the cache of finished logs.
        self.cached_bytes = 0
        # The newest of each kind of news, for who joins while the request waits.
        self.notices: dict[str, dict[str, Any]] = {}
        self._noticed_at = START
        self.tenant = ""
        # Replaced when someone comes or goes, not changed: who is told may do either.
        self.wakes: tuple[Callable[[], None], ...] = ()
        self.notice_listeners: tuple[NoticeListener, ...] = ()
        self.early: list[Pushed] = []
        self.heal: asyncio.Task[None] | None = None

    def wake_all(self) -> None:
        """Tell all listeners that the tape may have changed."""
        if self.notices and self.tape.last != self._noticed_at:
            # An entry came: whatever was waited for is over.
            self.notices.clear()
        for wake in self.wakes:
            wake()

    def listen(self, wake: Callable[[], None], aside: NoticeListener | None = None) -> None:
        """Call `wake` after every change of the tape, and `aside` for news that are no entries."""
        self.wakes += (wake,)
        if aside is not None:
            self.notice_listeners += (aside,)

    def leave(self, wake: Callable[[], None], aside: NoticeListener | None = None) -> None:
        """Undo `listen`."""
        self.wakes = tuple(each for each in self.wakes if each != wake)
        self.notice_listeners = tuple(each for each in self.notice_listeners if each != aside)

    def keep_notice(self, kind: str, data: dict[str, Any]) -> None:
        """Keep something that is no entry for who joins until the next entry comes."""
        self.notices[kind] = data
        self._noticed_at = self.tape.last

    def publish_notice(self, kind: str, data: dict[str, Any]) -> None:
        """Note it, and tell all listeners."""
        self.keep_notice(kind, data)
        for aside in self.notice_listeners:
            aside(kind, data)
