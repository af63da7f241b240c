"""Servers side by side: their rounds interleave, so that what disturbs one disturbs all."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from typing import TypeVar

from bench.box import Box
from bench.peers.peer import Absent, Peer
from bench.report import Spread, Strip, Table, short
from bench.rounds import Round, Shape, play

P = TypeVar("P", bound=Peer)


@dataclass(frozen=True)
class Entry:
    """A server in a shape, under the label of its row."""

    label: str
    peer: Peer
    shape: Shape


@dataclass
class Field:
    """The servers that take part; those that are not on this machine are in `notes`."""

    stack: AsyncExitStack
    notes: list[str]

    async def start(self, running: AbstractAsyncContextManager[P]) -> P | None:
        """The server, running until the stack ends, or None."""
        try:
            return await self.stack.enter_async_context(running)
        except Absent as absent:
            self.notes.append(f"Skipped: {absent}.")
            return None


def entry(label: str, peer: Peer | None, shape: Shape) -> list[Entry]:
    """The entry of a server, if there is one."""
    return [] if peer is None else [Entry(label, peer, shape)]


async def contest(
    box: Box, entries: Sequence[Entry], *, rounds: int, redis_pids: Sequence[int] = ()
) -> dict[str, list[Round]]:
    """The rounds of each label. Each round begins with another one."""
    played: dict[str, list[Round]] = {each.label: [] for each in entries}
    for number in range(rounds):
        first = number % len(entries)
        for each in [*entries[first:], *entries[:first]]:
            played[each.label].append(await play(box, each.peer, each.shape, redis_pids=redis_pids))
    return played


def us_per_event(rounds: Sequence[Round]) -> Spread:
    """The server's CPU for one delivered event, in us."""
    return Spread(tuple(each.us_per_event for each in rounds))


def p99_ms(rounds: Sequence[Round], group: int = 0) -> Spread:
    """The 99th percentile of a group's delays, in ms."""
    return Spread(tuple(each.loaded.groups[group].p99_ms for each in rounds))


def per_s(rounds: Sequence[Round]) -> Spread:
    """Deliveries a second."""
    return Spread(tuple(each.per_s for each in rounds))


def table(played: Mapping[str, Sequence[Round]]) -> Table:
    """A row for each server: median, and in brackets the smallest and the largest."""
    rows = []
    for label, rounds in played.items():
        p50 = Spread(tuple(each.latencies.p50_ms for each in rounds))
        cores = Spread(tuple(each.cores for each in rounds))
        readers = Spread(tuple(each.readers_cores for each in rounds))
        rows.append(
            [
                label,
                str(us_per_event(rounds)),
                short(per_s(rounds).median),
                f"{short(cores.median)} / {short(readers.median)}",
                f"{p50} / {p99_ms(rounds)}",
            ]
        )
    return Table(
        (
            "server",
            "CPU per event, us",
            "events/s",
            "cores: server / readers",
            "delay p50 / p99, ms",
        ),
        rows,
    )


def strip(name: str, title: str, played: Mapping[str, Sequence[Round]]) -> Strip:
    """Every round of every server as a dot."""
    values = {label: us_per_event(rounds).values for label, rounds in played.items()}
    return Strip(name, title, "server CPU per delivered event, us", values)
