"""Settles limits of tenants whose home is another partition than that of the request.

A request reserves tokens in the home partition of its tenant. Its end cannot replace them there,
because no script can change two partitions. So the end lists what the request has used in its own
partition (`unsettled`), in the same step, and a worker carries the list to the homes.
"""

from collections.abc import Sequence

from tickertape.broker.connections import Connections
from tickertape.broker.lua import Scripts

_AT_ONCE = 100


class Settlements:
    """Every method raises Unavailable, and is safe to repeat and to call from several workers."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._keys = connections.keys
        self._scripts = Scripts(connections.commands)

    async def settle(self, partition: int) -> int:
        """Settle what the ended requests of a partition have used; returns how many there were.

        A worker that dies meanwhile leaves the list, and the next call settles no request twice.
        """
        count = 0
        while rows := await self._connections.ask(
            "XRANGE", self._keys.unsettled(partition), "-", "+", "COUNT", _AT_ONCE
        ):
            for home, own in _by_home(rows).items():
                await self._scripts.verdict(
                    "settle",
                    [self._keys.settled(home)],
                    *(word for row in own for word in row),
                    source=partition,
                )
            ids = [id_ for id_, _ in rows]
            await self._connections.ask("XDEL", self._keys.unsettled(partition), *ids)
            count += len(ids)
            if len(ids) < _AT_ONCE:
                break
        return count


def _by_home(
    rows: Sequence[tuple[bytes, dict[bytes, bytes]]],
) -> dict[int, list[tuple[bytes, ...]]]:
    """The requests by the home of their tenant, each with its id, its limits and its tokens."""
    homes: dict[int, list[tuple[bytes, ...]]] = {}
    for id_, fields in rows:
        row = (id_, fields[b"rates"], fields[b"input"], fields[b"output"])
        homes.setdefault(int(fields[b"home"]), []).append(row)
    return homes
