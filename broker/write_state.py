"""Whether the server takes writes, in its own words, and when connections have to be renewed.

A primary that is demoted keeps its connections, and answers each write with an error. Behind a TCP
balancer, a name or a Sentinel, only a new connection leads to the new primary. So a reply of that
kind makes every connection of the process old; see broker/server_connection.py.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import structlog

from tickertape.runtime.backoff import Backoff

log = structlog.get_logger()

# How error replies begin that another server may not give.
_DEMOTIONS = (
    "READONLY ", "LOADING ", "MASTERDOWN ", "NOREPLICAS ", "CLUSTERDOWN ", "NOAUTH ", "MISCONF ",
)  # fmt: skip
# After these words, a server names the line of the script.
_PLACE = " script: "
_FIRST_S, _LONGEST_S = 0.05, 1.0
# Other connections may lead to a server that takes writes while one is still refused.
_HOLD_S = 1.0
WORDS = tuple(each.strip() for each in _DEMOTIONS)


def is_demotion(reply: str) -> bool:
    """Whether an error reply means that a new connection may find another server."""
    return reply.startswith(_DEMOTIONS)


def _do_nothing() -> None:
    pass


@dataclass(eq=False)
class _Watcher:
    on_moved: Callable[[], None]
    on_refused: Callable[[], None]
    on_accepted: Callable[[], None]


class WriteState:
    """What the server last said about writes. One object for all connections of a process.

    `generation` grows each time all connections become old: at once after the first refusal, and
    then at most once in a pause that doubles up to a second, with jitter. So a server that stays
    refused is not flooded with connections, and the processes do not come back together.
    """

    def __init__(self, address: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._address = address
        self._clock = clock
        self._backoff = Backoff(_FIRST_S, _LONGEST_S)
        self._next_renewal_s = 0.0
        self._refused_at_s = 0.0
        self._watchers: list[_Watcher] = []
        self.generation = 0
        self.reason: str | None = None
        """The server's last word while it refuses writes; None while it takes them."""
        self.refusals: Counter[str] = Counter()
        """How often the server refused, by the first word of its reply."""

    def refused(self, reply: str) -> None:
        """Record an error reply for which `is_demotion` holds. Each new first word is logged."""
        now_s = self._clock()
        word = reply.partition(" ")[0]
        self.refusals[word] += 1
        self._note(word, reply.partition(_PLACE)[0], now_s)
        if now_s >= self._next_renewal_s:
            self._next_renewal_s = now_s + self._backoff.next_s()
            self.generation += 1
            for watcher in list(self._watchers):
                watcher.on_refused()

    def _note(self, word: str, reason: str, now_s: float) -> None:
        if self.reason is None or not self.reason.startswith(word):
            log.warning("Redis takes no writes", reason=reason, address=self._address)
        self.reason, self._refused_at_s = reason, now_s

    def accepted(self) -> None:
        """Record that the server took a write, or would take one."""
        if self.reason is None or self._clock() - self._refused_at_s < _HOLD_S:
            return
        self.reason = None
        self._backoff.reset()
        log.info("Redis takes writes again", address=self._address)
        for watcher in list(self._watchers):
            watcher.on_accepted()

    def moved(self) -> None:
        """Make every connection old, because another server is the primary now.

        The old primary refuses nothing until somebody demotes it, and what it takes is lost.
        """
        self.generation += 1
        for watcher in list(self._watchers):
            watcher.on_moved()

    @contextmanager
    def watch(
        self,
        *,
        on_moved: Callable[[], None],
        on_refused: Callable[[], None] = _do_nothing,
        on_accepted: Callable[[], None] = _do_nothing,
    ) -> Iterator[None]:
        """Call these functions in the block.

        `on_refused` is called when refused connections become old, `on_accepted` after a refusal,
        and `on_moved` when another server has become the primary.
        """
        watcher = _Watcher(on_moved, on_refused, on_accepted)
        self._watchers.append(watcher)
        try:
            yield
        finally:
            self._watchers.remove(watcher)
