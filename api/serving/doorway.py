"""What all connections of one process share: their number by address, their bodies, one clock."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from typing import Any, Protocol

import structlog

from tickertape.api.fanout.live_connection import LiveConnection
from tickertape.api.serving.bounds import Bounds
from tickertape.runtime.networks import Address, address_of, is_in, neighborhood

logger = structlog.get_logger("api")

REASONS = (
    "invalid_request", "target_too_long", "headers_too_large", "trailers_too_large",
    "chunks_too_small", "head_timeout", "body_timeout", "too_many_bodies", "too_many_connections",
    "too_many_pipelined", "heads_closed", "answer_unread", "answers_unread", "upgrade_ignored",
)  # fmt: skip
"""What `Doorway.note` counts. Most of these are codes of edge/bound_problems.py."""

_LOG_INTERVAL_S = 60.0
_HEAD_COMES_WITHIN_S = 0.5
# As many times the limit may wait for this moment.
_MOST_NEW = 4


class Guest(Protocol):
    """A connection that has not been handed over; bounded_protocol.py implements it."""

    def tick(self, now_s: float) -> int:
        """Notice which times are over; returns the bytes that the client has not taken."""
        ...

    def make_room(self) -> bool:
        """Close a connection that waits for its head; False if bytes of the head have arrived."""
        ...

    def cut(self) -> None:
        """Break off."""
        ...


class Leavable(Protocol):
    """uvicorn's set of connections, of which those of several kinds are members."""

    def discard(self, connection: Any, /) -> None:
        """Count the connection no more."""
        ...


class Doorway:
    """Counts connections and bodies, and looks at every connection once in `tick_s`."""

    def __init__(self, bounds: Bounds, headers: Mapping[str, str]) -> None:
        self.bounds = bounds
        # Of the answers to callers that reach no route.
        self.headers = headers
        self.refusals: Counter[str] = Counter()
        self._guests: set[Guest] = set()
        self._full: set[LiveConnection] = set()
        # Since when each connection has waited.
        self._heads: dict[Guest, float] = {}
        self._bodies: dict[Guest, int] = {}
        self._body_bytes = 0
        self._places: dict[str, Place] = {}
        self._unlogged: Counter[str] = Counter()
        self._log_from_s = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def enter(self, guest: Guest) -> None:
        """Look at the connection from now on."""
        self._guests.add(guest)
        if self._timer is None:
            self._wait()

    def add(self, connection: LiveConnection) -> None:
        """Look at a stream whose client does not take what is sent."""
        self._full.add(connection)
        if self._timer is None:
            self._wait()

    def discard(self, connection: LiveConnection) -> None:
        """Look at a stream no more, whose client has taken what was sent or has left."""
        self._full.discard(connection)

    def leave(self, guest: Guest) -> None:
        """Forget a connection that was closed or handed over."""
        self._guests.discard(guest)
        self._heads.pop(guest, None)
        self.end_body(guest)

    def place_of(self, client: str, connections: Leavable) -> "Place | None":
        """The place of an address, None if its connections are not counted."""
        address = address_of(client)
        if address is None or not self.bounds.address_connections or self._is_proxy(address):
            return None
        name = neighborhood(address)
        if name not in self._places:
            limit = self.bounds.address_connections
            self._places[name] = Place(self._places, name, connections, limit)
        return self._places[name]

    def _is_proxy(self, address: Address) -> bool:
        # Until proxies are named, one may be on this machine or in this network.
        proxies = self.bounds.proxies
        return is_in(address, proxies) if proxies else not address.is_global

    def begin_head(self, guest: Guest) -> None:
        """Count a connection without a whole head; the one that waited longest may have to go."""
        now_s = asyncio.get_running_loop().time()
        self._heads[guest] = now_s
        if len(self._heads) <= self.bounds.heads:
            return
        oldest, since_s = next(iter(self._heads.items()))
        # Many may come at once, as after a restart, and send their heads in a moment.
        is_new = now_s - since_s < _HEAD_COMES_WITHIN_S
        if is_new and len(self._heads) <= _MOST_NEW * self.bounds.heads:
            return
        del self._heads[oldest]
        if not oldest.make_room():
            self._heads[oldest] = since_s

    def end_head(self, guest: Guest) -> None:
        """Stop counting a connection whose head is whole."""
        self._heads.pop(guest, None)

    def hold_body(self, guest: Guest, size: int) -> bool:
        """Count `size` more bytes of a body that is being received; False if there is no room."""
        held = self._bodies.get(guest)
        if held is None and len(self._bodies) >= self.bounds.body_slots:
            return False
        if self._body_bytes + size > self.bounds.bodies_bytes:
            return False
        self._bodies[guest] = (held or 0) + size
        self._body_bytes += size
        return True

    def end_body(self, guest: Guest) -> None:
        """Stop counting a body that is whole, or that is not read any more."""
        self._body_bytes -= self._bodies.pop(guest, 0)

    def note(self, reason: str) -> None:
        """Count a refusal; its line in the log comes at most once a minute, with a count."""
        self.refusals[reason] += 1
        self._unlogged[reason] += 1
        self._log(asyncio.get_running_loop().time())

    def _log(self, now_s: float) -> None:
        if self._unlogged and now_s >= self._log_from_s:
            logger.warning("refused at the edge", **dict(self._unlogged))
            self._unlogged.clear()
            self._log_from_s = now_s + _LOG_INTERVAL_S

    def tick(self) -> None:
        """Look at all connections, and cut those that leave most unread if all leave too much."""
        self._timer = None
        try:
            self._look(asyncio.get_running_loop().time())
        finally:
            if self._guests or self._full or self._unlogged:
                self._wait()

    def _look(self, now_s: float) -> None:
        unread = [(guest.tick(now_s), guest.cut) for guest in list(self._guests)]
        unread += [(each.own_unsent_bytes(), each.drop) for each in self._full]
        total = sum(size for size, _ in unread)
        if total > self.bounds.unread_bytes:
            for size, cut in sorted(unread, key=lambda each: -each[0]):
                self.note("answers_unread")
                cut()
                total -= size
                if total <= self.bounds.unread_bytes:
                    break
        self._log(now_s)

    def _wait(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self.bounds.tick_s, self.tick)


class Place:
    """The connections of one address. It goes with the last of them.

    A connection that was handed over leaves what it is a member of, which is this.
    """

    __slots__ = ("_connections", "_count", "_limit", "_name", "_places")

    def __init__(
        self, places: "dict[str, Place]", name: str, connections: Leavable, limit: int
    ) -> None:
        self._places = places
        self._name = name
        self._connections = connections
        self._limit = limit
        self._count = 0

    def join(self) -> bool:
        """Count one more connection; False if there are too many."""
        if self._count >= self._limit:
            return False
        self._count += 1
        return True

    def part(self) -> None:
        """Count one connection less."""
        self._count -= 1
        if not self._count:
            del self._places[self._name]

    def discard(self, connection: LiveConnection) -> None:
        """Count a connection that was handed over no more."""
        self._connections.discard(connection)
        self.part()
