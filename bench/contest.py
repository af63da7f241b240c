"""Measures servers side by side. Rounds alternate, so that a disturbance affects every server."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from typing import TypeVar

from bench.box import Box
from bench.peers.peer import Absent, Peer
from bench.report import Spread, Strip, Table, short
from bench.rounds import FanoutRound, Workload, play

P = TypeVar("P", bound=Peer)


@dataclass(frozen=True)
class Entry:
    """A server, its workload, and the label of its row."""

    label: str
    peer: Peer
    workload: Workload


@dataclass
class Field:
    """Starts the servers that take part. `notes` list those that this machine lacks."""

    stack: AsyncExitStack
    notes: list[str]

    async def start(self, running: AbstractAsyncContextManager[P]) -> P | None:
        """The server, running until `stack` closes; None if it cannot run here."""
        try:
            return await self.stack.enter_async_context(running)
        except Absent as absent:
            self.notes.append(f"Skipped: {absent}.")
            return None


def entry(label: str, peer: Peer | None, workload: Workload) -> list[Entry]:
    """The entry of a server; an empty list without one."""
    return [] if peer is None else [Entry(label, peer, workload)]


async def contest(
    box: Box, entries: Sequence[Entry], *, rounds: int, redis_pids: Sequence[int] = ()
) -> dict[str, list[FanoutRound]]:
    """The rounds of each label. Each round starts with a different server."""
    played: dict[str, list[FanoutRound]] = {each.label: [] for each in entries}
    for number in range(rounds):
        first = number % len(entries)
        for each in [*entries[first:], *entries[:first]]:
            played[each.label].append(
                await play(box, each.peer, each.workload, redis_pids=redis_pids)
            )
    return played


def us_per_event(rounds: Sequence[FanoutRound]) -> Spread:
    """Server CPU per delivered event, in us."""
    return Spread(tuple(each.us_per_event for each in rounds))


def p99_ms(rounds: Sequence[FanoutRound], group: int = 0) -> Spread:
    """The 99th percentile of the delays of a group, in ms."""
    return Spread(tuple(each.loaded.groups[group].p99_ms for each in rounds))


def per_s(rounds: Sequence[FanoutRound]) -> Spread:
    """Events delivered per second."""
    return Spread(tuple(each.per_s for each in rounds))


def table(played: Mapping[str, Sequence[FanoutRound]]) -> Table:
    """A row per server: the median, with the smallest and the largest value in brackets."""
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


def strip(name: str, title: str, played: Mapping[str, Sequence[FanoutRound]]) -> Strip:
    """A plot with a dot for each round of each server."""
    values = {label: us_per_event(rounds).values for label, rounds in played.items()}
    return Strip(name, title, "server CPU per delivered event, us", values)
