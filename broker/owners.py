"""One connection to each node of Redis, and which of them serves each partition now.

On one server there is one node. In a cluster, partitions move: an operator moves slots, and a
replica is promoted when its master dies. What was learned about the nodes may be out of date, so a
node's refusal counts, and the topology is asked for again.
"""

import asyncio
import functools
from collections.abc import Callable, Iterator
from typing import Generic, Protocol, TypeVar

import hiredis

from tickertape.broker.cluster import Node
from tickertape.broker.connections import Connections
from tickertape.broker.errors import Unavailable
from tickertape.broker.pauses import Pauses
from tickertape.runtime.backoff import Backoff
from tickertape.runtime.wait import wait_at_most

_FIRST_PAUSE_S = 0.02
_LONGEST_PAUSE_S = 0.25
_CHECK_EVERY_S = 1.0
# How the replies of a node begin that does not serve the slot of the call at the moment.
_REDIRECTIONS = ("MOVED ", "ASK ", "TRYAGAIN", "CLUSTERDOWN")


class Line(Protocol):
    """One connection to one node, which is used once."""

    @property
    def is_open(self) -> bool:
        """Whether commands reach a connection that is not known to be broken."""

    async def run(self, on_open: Callable[[], None]) -> None:
        """Connect and call `on_open`; raise Unavailable when the connection breaks."""

    async def close(self) -> None:
        """Close at once; safe to call at any time."""

    def gain(self, partition: int) -> None:
        """Serve this partition from now on; the line is open."""

    def lose(self, partition: int) -> None:
        """Serve this partition no more; the line may be open."""


AnyLine = TypeVar("AnyLine", bound=Line)


class Owners(Generic[AnyLine]):
    """Keeps one line to each node that owns a partition; a task must execute `run`.

    `lines` has the open line of each partition, or None while its owner is unknown or away.
    """

    def __init__(
        self, connections: Connections, partitions: int, make_line: Callable[[Node], AnyLine]
    ) -> None:
        self._connections = connections
        self._make_line = make_line
        self.lines: list[AnyLine | None] = [None] * partitions
        self._nodes: list[Node | None] = [None] * partitions
        self._open: dict[Node, AnyLine] = {}
        self._keepers: dict[Node, asyncio.Task[None]] = {}
        self._served = [asyncio.Event() for _ in range(partitions)]
        self._changed = asyncio.Event()
        self._is_stale = True

    @property
    def is_complete(self) -> bool:
        """Whether every partition has an open line."""
        return all(line is not None and line.is_open for line in self.lines)

    def serves(self, partition: int) -> bool:
        """Whether this partition has an open line."""
        line = self.lines[partition]
        return line is not None and line.is_open

    def resize(self, partitions: int) -> None:
        """Serve at least this many partitions from now on."""
        more = range(len(self.lines), partitions)
        if not more:
            return
        self.lines += [None for _ in more]
        self._nodes += [None for _ in more]
        self._served += [asyncio.Event() for _ in more]
        # The owners are known as a rule, and have lines.
        if self._keepers:
            self._assign()
        self._changed.set()

    async def served(self, partition: int) -> None:
        """Return when this partition has a line."""
        await self._served[partition].wait()

    async def all_served(self) -> None:
        """Return when every partition has a line."""
        for served in self._served:
            await served.wait()

    def redirected(self, partition: int, line: AnyLine) -> None:
        """Take a partition from the line whose node refused it; it gets a line after a pause."""
        if self.lines[partition] is line:
            self._drop(partition)
            self._nodes[partition] = None
            self._is_stale = True
            self._changed.set()

    def broken(self, partition: int) -> None:
        """The line of this partition is closing, before its task has noticed."""
        self._drop(partition)

    async def run(self) -> None:
        """Keep the lines up until cancelled."""
        pauses = Backoff(_FIRST_PAUSE_S, _LONGEST_PAUSE_S, jitter=0)
        try:
            while True:
                self._changed.clear()
                if self._is_stale:
                    await self._learn()
                self._assign()
                check_s = _CHECK_EVERY_S if self.is_complete else _LONGEST_PAUSE_S
                has_changed = self._is_stale or await wait_at_most(self._changed, check_s)
                # A partition without a line may have another owner, whatever was last learned.
                self._is_stale = self._is_stale or not self.is_complete
                if has_changed and self._is_stale:
                    await asyncio.sleep(pauses.next_s())
                elif not has_changed:
                    pauses.reset()
        finally:
            keepers = list(self._keepers.values())
            self._keepers.clear()
            for keeper in keepers:
                keeper.cancel()
            await asyncio.gather(*keepers, return_exceptions=True)

    async def _learn(self) -> None:
        self._is_stale = False
        try:
            await self._connections.learn_topology()
        except Unavailable:
            self._is_stale = True
        except Exception as error:  # noqa: BLE001  # no error of a client ends a process
            self._connections.faults.failed("topology", error)
            self._is_stale = True
        else:
            self._connections.faults.worked("topology")

    def _assign(self) -> None:
        """Give each partition the line of its owner, and keep lines to owners alone."""
        for partition, old in enumerate(self._nodes):
            node = self._connections.node_of(partition)
            if node is None:
                self._is_stale = True
            elif node != old:
                self._leave(partition)
                self._nodes[partition] = node
                self._gain(partition)
        owners = {node for node in self._nodes if node is not None}
        for node in owners - self._keepers.keys():
            self._keepers[node] = asyncio.create_task(self._keep(node), name=f"line to {node}")
        for node in self._keepers.keys() - owners:
            self._keepers.pop(node).cancel()

    async def _keep(self, node: Node) -> None:
        pauses = Pauses()
        while True:
            line = self._make_line(node)
            try:
                await line.run(functools.partial(self._opened, node, line, pauses))
            except Exception as error:  # noqa: BLE001  # as above
                self._connections.faults.failed(f"line to {node}", error)
            finally:
                self._closed(node)
                await line.close()
            await asyncio.sleep(pauses.next_s())

    def _opened(self, node: Node, line: AnyLine, pauses: Pauses) -> None:
        pauses.opened()
        self._connections.faults.worked(f"line to {node}")
        self._open[node] = line
        for partition in self._of(node):
            self._gain(partition)

    def _closed(self, node: Node) -> None:
        self._open.pop(node, None)
        for partition in self._of(node):
            self._drop(partition)
        # The node may be dead, and a replica in its place.
        self._is_stale = True
        self._changed.set()

    def _of(self, node: Node) -> Iterator[int]:
        return (n for n, owner in enumerate(self._nodes) if owner == node)

    def _gain(self, partition: int) -> None:
        node = self._nodes[partition]
        line = self._open.get(node) if node is not None else None
        if line is not None:
            self.lines[partition] = line
            self._served[partition].set()
            line.gain(partition)

    def _leave(self, partition: int) -> None:
        line = self.lines[partition]
        self._drop(partition)
        if line is not None and line.is_open:
            line.lose(partition)

    def _drop(self, partition: int) -> None:
        self.lines[partition] = None
        self._served[partition].clear()


def is_redirection(error: hiredis.ReplyError) -> bool:
    """Whether an error reply says that the node does not serve the slot of the call now."""
    return str(error).startswith(_REDIRECTIONS)
