"""What a run needs of its Redis, whatever the kind: addresses, faults, and where a partition is."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any, Protocol

from tests.chaos.history import History
from tickertape.broker.keys import Keyspace

# Injects a fault, and returns whether it could. It undoes itself at its end.
Fault = Callable[[random.Random], Awaitable[bool]]
# The mean seconds between two faults of a kind, and the fault, by the name of the kind.
Schedule = Mapping[str, tuple[float, Fault]]


class Engine(Protocol):
    """One kind of Redis, which runs."""

    kind: str
    url: str
    # For one API process and one worker, whose connections are harmed if the kind can do that.
    harmed_url: str
    keys: Keyspace
    # The numbers of partitions that a run changes between, and the largest of them.
    sizes: Sequence[int]
    partitions: int
    # Each partition has a share of the limit, so it has to be larger if there are many.
    tenant_limit: int

    def faults(self, history: History) -> Schedule:
        """The faults of the servers and of the connections to them."""
        ...

    async def mend(self) -> None:
        """Undo what is left of the faults, and wait until the servers are whole."""
        ...

    def server_url(self, partition: int) -> str:
        """The server that has a partition, as the URL of one server."""
        ...


class OneAtATime:
    """Faults that wait for each other, and of which none is left half-way.

    A cluster survives one dead master, not two. Servers that were left in the middle of a fail-over
    would lose writes for an unknown time.
    """

    def __init__(self) -> None:
        self._lock = asyncio.Lock()

    def fault(self, act: Callable[[random.Random], Coroutine[Any, Any, None]]) -> Fault:
        """The act as one of these faults."""

        async def inject(rng: random.Random) -> bool:
            async with self._lock:
                await _to_its_end(act(rng))
            return True

        return inject


async def _to_its_end(work: Coroutine[Any, Any, None]) -> None:
    """Cancelled, it waits for the end of the work first."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise
