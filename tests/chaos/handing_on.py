"""What hands finished requests on in a run: two processes, a receiver of webhooks, a database.

The receiver and the processes are killed, and the database takes no writes for a while. Whatever
was killed, each finished request reaches both at least once, and the database has it once.
"""

import asyncio
import contextlib
import random
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from unittest import mock
from urllib.parse import urlsplit

import tickertape.deliver.main
from tests.chaos.engine import Schedule
from tests.chaos.history import Final, History
from tests.support.receiver import Receiver, receiving, write_receivers
from tests.support.wait import wait_until
from tickertape.broker.connections import Connections
from tickertape.broker.outbox import CONSUMERS, Outbox
from tickertape.deliver.webhooks import WebhookTiming

# The receiver is away for seconds, and no webhook may be given up because of that.
_QUICK = WebhookTiming(pauses_s=(0.3,) * 1000, busy_s=0.3)
_TYPES = {
    "completed": {"response.completed", "response.incomplete"},
    "failed": {"response.failed"},
    "cancelled": {"response.cancelled"},
}


def hurry() -> None:
    """Let this process send webhooks again after less than a second."""
    mock.patch.object(tickertape.deliver.main, "WebhookTiming", return_value=_QUICK).start()


@dataclass(frozen=True)
class Handed:
    """What arrived: the type of each event by its request, and the rows of the database."""

    types: Mapping[str, str]
    rows: tuple[tuple[str, str, str | None], ...]


class HandingOn:
    """The receiver and the database of a run."""

    def __init__(self, directory: Path) -> None:
        self._receiver = Receiver()
        self._webhooks = directory / "webhooks.toml"
        self._database = directory / "history.db"
        self._listening = contextlib.AsyncExitStack()
        self._port = 0

    @property
    def settings(self) -> Mapping[str, str]:
        """What all processes of the run are set to."""
        return {
            "TICKERTAPE_WEBHOOKS": str(self._webhooks),
            "TICKERTAPE_HISTORY_URL": f"sqlite:///{self._database}",
        }

    async def start(self) -> None:
        """Start the receiver, at the same port each time."""
        await self._listening.enter_async_context(receiving(self._receiver, self._port))
        self._port = urlsplit(self._receiver.url).port or 0
        write_receivers(self._webhooks, one=self._receiver.url)

    async def kill(self) -> None:
        """End the receiver in the middle of its calls."""
        await self._listening.aclose()

    async def kill_receiver(self, rng: random.Random) -> bool:
        """Leave no receiver at the address for a while."""
        try:
            await self.kill()
            await asyncio.sleep(rng.uniform(0.2, 3))
        finally:
            await self.start()
        return True

    async def lock_database(self, rng: random.Random) -> bool:
        """Let the database take no write for a while."""
        with contextlib.closing(sqlite3.connect(self._database, timeout=0)) as connection:
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                return False
            await asyncio.sleep(rng.uniform(0.5, 5))
            connection.rollback()
        return True

    def faults(self) -> Schedule:
        """The faults of the receiver and of the database."""
        return {
            "receiver killed": (4, self.kill_receiver),
            "database locked": (6, self.lock_database),
        }

    async def handed(self, redis_url: str, patience_s: float) -> Handed:
        """What has arrived when nothing waits any more, or after the patience."""
        # The end of the faults may have cancelled a kill half-way.
        await self.kill()
        await self.start()
        async with contextlib.aclosing(Connections(redis_url)) as connections:
            await connections.partitions.refresh()
            outbox = Outbox(connections)

            async def is_empty() -> bool:
                backlogs = [
                    await outbox.backlog(partition, consumer)
                    for partition in range(outbox.partitions)
                    for consumer in CONSUMERS
                ]
                return not any(each.waiting or each.due_again for each in backlogs)

            with contextlib.suppress(AssertionError):
                await wait_until(is_empty, timeout_s=patience_s, description="all is handed on")
        query = "SELECT id, state, answered FROM tickertape_requests"
        with contextlib.closing(sqlite3.connect(self._database)) as connection:
            return Handed(self._receiver.types, tuple(connection.execute(query)))


@contextlib.asynccontextmanager
async def handing_on(directory: Path, *, is_on: bool) -> AsyncIterator[HandingOn | None]:
    """The receiver and the database, or nothing."""
    if not is_on:
        yield None
        return
    parts = HandingOn(directory)
    await parts.start()
    try:
        yield parts
    finally:
        await parts.kill()


def handed_on(history: History) -> Iterator[str]:
    """The violations: what did not arrive, or arrived as something else, or twice in the database.

    A fail-over may lose the entry of an outbox with the writes beside it.
    """
    if history.handed is None or history.losses:
        return
    counts = Counter(request_id for request_id, *_ in history.handed.rows)
    rows = {request_id: row for request_id, *row in history.handed.rows}
    for request_id, count in counts.items():
        if count > 1:
            yield f"{request_id} is in the database {count} times"
    for request_id, final in history.finals.items():
        state = final.stored["state"]
        if history.handed.types.get(request_id) not in _TYPES.get(state, set()):
            yield f"{request_id} is {state}, and its event {history.handed.types.get(request_id)}"
        if rows.get(request_id) != [state, _text(final)]:
            yield f"{request_id} is {state}, and its row {rows.get(request_id)}"


def _text(final: Final) -> str | None:
    return final.view.get("text") or None
