"""The outboxes: what consumers have not got of the requests that have ended.

The script that ends a request lists the request in the outbox of each consumer that its submit has
named, in the same step. So a process that dies loses no end. `tickertape deliver` collects the
entries, hands them on, and says so with `hand`. What it does in between is repeated after a death,
so that each consumer gets each request at least once.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, cast

from tickertape.broker.connections import Connections
from tickertape.broker.kinds import Terminal, Verdict
from tickertape.broker.lua import Scripts
from tickertape.broker.request_ids import partition_of
from tickertape.runtime.settings import Settings

Consumer = Literal["webhooks", "history"]
CONSUMERS: tuple[Consumer, ...] = ("webhooks", "history")
LEASE_S = 10.0
MOST_AT_ONCE = 64
_LISTED_AT_ONCE = 500
_LEAST_SHARE_BYTES = 1024 * 1024


def named_consumers(settings: Settings) -> str:
    """Pure: the consumers of all requests, as submits name them; empty if there are none.

    The history holds what was said until the database has it, up to a number of bytes. Each
    partition gets a share of them, which is not less than 1 MiB.
    """
    names = [] if settings.webhooks is None else ["webhooks=0"]
    if settings.history_url is not None:
        share = max(settings.history_bytes // settings.partitions, _LEAST_SHARE_BYTES)
        names.append(f"history={min(share, settings.history_bytes)}")
    return " ".join(names)


def has_history(settings: Settings) -> int:
    """Pure: 1 if the history is among the consumers, as scripts that erase have it."""
    return int("history" in named_consumers(settings))


@dataclass(frozen=True)
class Ended:
    """An entry of an outbox: a request that has ended.

    `end` is the value of its terminal, and `wire` that of its submit.
    """

    entry: str
    request_id: str
    tenant: str
    state: Terminal
    end: bytes
    wire: str

    @property
    def ended_ms(self) -> int:
        """When the request ended, by the clock of Redis."""
        return int(self.entry.partition("-")[0])


class Collected(NamedTuple):
    """What a consumer has not got, the oldest first.

    `due` are the webhooks that are sent again, or the requests that the history must erase.
    """

    ended: list[Ended]
    due: list[bytes]


class Fate(NamedTuple):
    """What became of an entry, or of a webhook that was due again (`repeat`).

    `next` is a webhook of the request that is sent after `due_ms`, or was given up if that is None.
    """

    entry: str = ""
    repeat: bytes = b""
    request_id: str = ""
    next: bytes = b""
    due_ms: int | None = None


class GivenUp(NamedTuple):
    """A webhook (JSON) that was given up, and when one of its request was given up last."""

    request_id: str
    at_ms: int
    webhook: bytes


@dataclass(frozen=True)
class Backlog:
    """What a partition holds for a consumer. `lost` were not listed, because of the limits.

    `given_up` counts since ever, and `kept` the requests whose webhooks were given up and are kept.
    `oldest_ms` is when the request that waits for the longest has ended; None if none waits.
    """

    waiting: int
    due_again: int
    kept: int
    given_up: int
    lost: int
    held_bytes: int
    oldest_ms: int | None


class Outbox:
    """The outboxes of all partitions; every method raises Unavailable and is safe to repeat."""

    def __init__(
        self, connections: Connections, *, owner: str = "", lease_s: float = LEASE_S
    ) -> None:
        self._connections = connections
        self._keys = connections.keys
        self._owner = owner
        self._held: set[tuple[int, Consumer]] = set()
        self._lease_ms = int(lease_s * 1000)
        self._scripts = Scripts(connections.commands)

    @property
    def partitions(self) -> int:
        """How many partitions there are."""
        return self._connections.partitions.served

    async def collect(
        self, partition: int, consumer: Consumer, most: int = MOST_AT_ONCE
    ) -> Collected | None:
        """What is to be handed on; None while another process does that, or if there is nothing.

        The caller is the only one that gets it for the time of the lease.
        """
        word, details = await self._collect(partition, consumer, self._lease_ms, most)
        if word != "OK":
            self._held.discard((partition, consumer))
            return None
        self._held.add((partition, consumer))
        entries, due = cast("tuple[Any, Any]", details)
        return Collected([_ended(entry, fields) for entry, fields in entries], due)

    async def release(self, partition: int, consumer: Consumer) -> None:
        """Let another process collect at once, unless another one does so already."""
        if (partition, consumer) in self._held:
            await self._collect(partition, consumer, 0, 1)

    async def _collect(
        self, partition: int, consumer: Consumer, lease_ms: int, most: int
    ) -> tuple[Verdict, list[bytes]]:
        return await self._scripts.verdict(
            "collect",
            [self._keys.outbox(partition, consumer)],
            consumer=consumer,
            owner=self._owner,
            lease_ms=lease_ms,
            most=most,
        )

    async def hand(self, partition: int, consumer: Consumer, fates: Iterable[Fate]) -> None:
        """Take out what the consumer has got, and note what follows of it."""
        values: list[str | bytes | int] = []
        for fate in fates:
            due_ms = "" if fate.due_ms is None else fate.due_ms
            values += [fate.entry, fate.repeat, fate.request_id, fate.next, due_ms]
        if values:
            await self._scripts.verdict(
                "handed", [self._keys.outbox(partition, consumer)], *values, consumer=consumer
            )

    async def has_erased(self, partition: int, request_ids: list[bytes]) -> None:
        """The history has erased these requests."""
        if request_ids:
            await self._connections.ask("ZREM", self._keys.erased(partition), *request_ids)

    async def backlog(self, partition: int, consumer: Consumer) -> Backlog:
        """What the partition holds for a consumer."""
        waiting, first, due, kept, facts = await self._connections.ask_all(
            [
                ("XLEN", self._keys.outbox(partition, consumer)),
                ("XRANGE", self._keys.outbox(partition, consumer), "-", "+", "COUNT", 1),
                ("ZCARD", self._keys.repeats(partition)),
                ("ZCARD", self._keys.given_up(partition)),
                ("HGETALL", self._keys.outboxed(partition)),
            ]
        )

        def count(name: str) -> int:
            return int(facts.get(f"{name}:{consumer}".encode(), 0))

        due, kept = (due, kept) if consumer == "webhooks" else (0, 0)
        oldest_ms = int(first[0][0].partition(b"-")[0]) if first else None
        return Backlog(waiting, due, kept, count("dead"), count("lost"), count("bytes"), oldest_ms)

    async def given_up(self, partition: int) -> list[GivenUp]:
        """The webhooks that were given up and are still kept, those of the latest requests last."""
        rows = await self._connections.ask(
            "ZRANGE", self._keys.given_up(partition), 0, -1, "WITHSCORES"
        )
        found: list[GivenUp] = []
        every = [(i.decode(), int(score)) for i, score in zip(rows[::2], rows[1::2], strict=True)]
        for first in range(0, len(every), _LISTED_AT_ONCE):
            of_request = every[first : first + _LISTED_AT_ONCE]
            lists = await self._connections.ask_all(
                [("LRANGE", self._keys.given_up_of(id_), 0, -1) for id_, _ in of_request]
            )
            for (request_id, at_ms), webhooks in zip(of_request, lists, strict=True):
                found += [GivenUp(request_id, at_ms, webhook) for webhook in webhooks]
        return found

    async def take_off(self, given_up: GivenUp, next_: bytes = b"") -> bool:
        """Take a webhook off the list, and make `next_` due if that is given.

        Returns False if the webhook is not on the list any more.
        """
        _, details = await self._scripts.verdict(
            "send_again",
            [self._keys.outbox(partition_of(given_up.request_id), "webhooks")],
            request_id=given_up.request_id,
            webhook=given_up.webhook,
            next=next_,
        )
        return bool(details[0])


def _ended(entry: bytes, fields: list[bytes]) -> Ended:
    named = dict(zip(fields[::2], fields[1::2], strict=True))
    return Ended(
        entry.decode(),
        named[b"id"].decode(),
        named[b"tenant"].decode(),
        cast("Terminal", named[b"state"].decode()),
        named[b"end"],
        named[b"wire"].decode(),
    )
