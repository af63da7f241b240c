"""What a function's attempt records for the attempts after it, under the fence.

Without a record, an interrupted attempt is followed by what the request's policy says. Functions
may have effects outside their answer, so they can record another policy, and a checkpoint: a state
from which the next attempt goes on.
"""

from typing import NamedTuple

from tickertape.broker import request_ids
from tickertape.broker.codec import Cursor
from tickertape.broker.connections import Connections
from tickertape.broker.errors import Fenced
from tickertape.broker.kinds import Policy
from tickertape.broker.lua import Scripts
from tickertape.broker.queue import Lease

MOST_CHECKPOINT_BYTES = 256 * 1024


class Checkpoint(NamedTuple):
    """A state, as JSON, and the last entry of the output that belongs to it."""

    at: Cursor
    state: bytes


class Marks:
    """Records and reads the marks of requests."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._scripts = Scripts(connections.commands)

    async def mark(
        self, lease: Lease, policy: Policy, *, at: int = 0, checkpoint: bytes = b""
    ) -> None:
        """Record the policy of the attempt, and a checkpoint behind the entry with the seq `at`.

        At most MOST_CHECKPOINT_BYTES. Raises Fenced, Unavailable. Repeat with equal arguments.
        """
        partition = request_ids.partition_of(lease.request_id)
        word, _ = await self._scripts.verdict(
            "mark",
            [self._connections.keys.ring(partition)],
            request_id=lease.request_id,
            attempt=lease.attempt,
            policy=policy,
            at=at,
            checkpoint=checkpoint,
        )
        if word == "FENCED":
            raise Fenced

    async def checkpoint(self, request_id: str) -> Checkpoint | None:
        """The last checkpoint of a request that has not ended. Raises Unavailable."""
        key = self._connections.keys.request(request_id)
        state, at = await self._connections.ask("HMGET", key, "checkpoint", "checkpoint_at")
        return None if state is None or at is None else Checkpoint(Cursor.parse(at), state)
