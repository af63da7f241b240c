"""A log that is watched: its tape, who listens to it, and how far it is known."""

import asyncio
from collections.abc import Callable
from typing import Any

from api.tape import Tape
from broker import keys
from broker.codec import START, Pushed

Aside = Callable[[str, dict[str, Any]], None]


class Watched:
    """A tape that is kept up to date, and who listens to it.

    `is_gone` says that the log expired or was erased: there will be no more.
    """

    __slots__ = (
        "_news_at",
        "asides",
        "cached_bytes",
        "channel",
        "early",
        "heal",
        "is_gone",
        "news",
        "rewinds",
        "synced",
        "tape",
        "tenant",
        "users",
        "wakes",
    )

    def __init__(self, request_id: str) -> None:
        self.tape = Tape(request_id)
        self.channel = keys.log_channel(request_id).encode()
        self.synced = asyncio.Event()
        self.is_gone = False
        self.rewinds = 0
        self.users = 0
        # What it counts for in the cache of finished logs.
        self.cached_bytes = 0
        # The newest of each kind of news, for who joins while the request waits.
        self.news: dict[str, dict[str, Any]] = {}
        self._news_at = START
        self.tenant = ""
        # Replaced when someone comes or goes, not changed: who is told may do either.
        self.wakes: tuple[Callable[[], None], ...] = ()
        self.asides: tuple[Aside, ...] = ()
        self.early: list[Pushed] = []
        self.heal: asyncio.Task[None] | None = None

    def wake_all(self) -> None:
        """Tell all listeners that the tape may have changed."""
        if self.news and self.tape.last != self._news_at:
            # An entry came: whatever was waited for is over.
            self.news.clear()
        for wake in self.wakes:
            wake()

    def listen(self, wake: Callable[[], None], aside: Aside | None = None) -> None:
        """Call `wake` after every change of the tape, and `aside` for news that are no entries."""
        self.wakes += (wake,)
        if aside is not None:
            self.asides += (aside,)

    def leave(self, wake: Callable[[], None], aside: Aside | None = None) -> None:
        """Undo `listen`."""
        self.wakes = tuple(each for each in self.wakes if each != wake)
        self.asides = tuple(each for each in self.asides if each != aside)

    def note(self, kind: str, data: dict[str, Any]) -> None:
        """Keep something that is no entry for who joins until the next entry comes."""
        self.news[kind] = data
        self._news_at = self.tape.last

    def tell_all(self, kind: str, data: dict[str, Any]) -> None:
        """Note it, and tell all listeners."""
        self.note(kind, data)
        for aside in self.asides:
            aside(kind, data)
