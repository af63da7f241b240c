"""What an attempt records for the attempts after it, under the fence.

Without a record, an interrupted attempt is followed by what the request's policy says. Functions
may have effects outside their answer, so they can record another policy, and a checkpoint: a state
from which the next attempt goes on. An attempt whose upstream keeps the answer records where.
"""

from typing import Literal, NamedTuple

import msgspec

from tickertape.broker import request_ids
from tickertape.broker.codec import Cursor
from tickertape.broker.connections import Connections
from tickertape.broker.errors import Fenced, LogLost
from tickertape.broker.kinds import Policy
from tickertape.broker.leases import Attached, Lease
from tickertape.broker.lua import Scripts

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

        At most MOST_CHECKPOINT_BYTES. Raises Fenced, Unavailable, and LogLost if the log does not
        have that entry. Repeat with equal arguments.
        """
        await self._record(lease, policy, at, checkpoint, b"")

    async def attach(self, lease: Lease, attached: Attached | None) -> None:
        """Record the answer that an upstream keeps; None: no upstream does. As `mark` otherwise."""
        await self._record(lease, "", 0, b"", msgspec.json.encode(attached))

    async def _record(
        self,
        lease: Lease,
        policy: Policy | Literal[""],
        at: int,
        checkpoint: bytes,
        attached: bytes,
    ) -> None:
        partition = request_ids.partition_of(lease.request_id)
        word, _ = await self._scripts.verdict(
            "mark",
            [self._connections.keys.ring(partition)],
            request_id=lease.request_id,
            attempt=lease.attempt,
            policy=policy,
            at=at,
            checkpoint=checkpoint,
            attached=attached,
        )
        if word == "FENCED":
            raise Fenced
        if word == "GAP":
            raise LogLost

    async def checkpoint(self, request_id: str) -> Checkpoint | None:
        """The last checkpoint of a request that has not ended. Raises Unavailable."""
        key = self._connections.keys.request(request_id)
        state, at = await self._connections.ask("HMGET", key, "checkpoint", "checkpoint_at")
        return None if state is None or at is None else Checkpoint(Cursor.parse(at), state)
