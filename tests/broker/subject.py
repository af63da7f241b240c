"""The whole broker behind plain calls, for a state machine, which has no event loop.

It differs from `tests.support.rig.Rig` because it also runs on a fake server, on which a script has
no shebang and the appender has no connection.
"""

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, TypeVar

from tests.broker.fake import FakeServer
from tests.broker.snapshot import Snapshot, take_snapshot
from tests.support.keyspace import KEYS
from tickertape.broker.compaction import Compaction
from tickertape.broker.connections import Connections
from tickertape.broker.conversations import Conversations
from tickertape.broker.exchanges import Exchanges
from tickertape.broker.leases import Lease
from tickertape.broker.log import Logs
from tickertape.broker.looks import Looks
from tickertape.broker.lua import Scripts
from tickertape.broker.marks import Marks
from tickertape.broker.outbox import Outbox
from tickertape.broker.queue import Queue
from tickertape.broker.requests import Requests
from tickertape.broker.summaries import ConversationList
from tickertape.runtime.settings import Settings

T = TypeVar("T")


class Subject:
    """On a real server if there is a URL, else on a fake; empty at the start."""

    def __init__(
        self,
        url: str | None,
        settings: Settings,
        workers: Mapping[str, Sequence[str]],
        keeps: Mapping[str, Sequence[str]],
    ) -> None:
        """`workers` has the pools of each worker, `keeps` its upstreams that keep answers."""
        self._runner = asyncio.Runner()
        self.connections = Connections(url or "redis://fake")
        if url is None:
            self.connections.commands = FakeServer()
        self.run(self.connections.ask("FLUSHALL"))
        self._scripts = Scripts(self.connections.commands)
        self.requests = Requests(self.connections, settings)
        self.queues = {
            name: Queue(self.connections, settings, worker=name, pools=pools, keeping=keeps[name])
            for name, pools in workers.items()
        }
        self.queue = next(iter(self.queues.values()))
        self.conversations = Conversations(self.connections, settings)
        self.conversation_list = ConversationList(self.connections, settings)
        self.logs = Logs(self.connections)
        self.looks = {name: Looks(self.connections, pools=pools) for name, pools in workers.items()}
        self.marks = Marks(self.connections)
        self.outbox = Outbox(self.connections)
        self.compaction = Compaction(self.connections)
        self.exchanges = Exchanges(self.connections)

    def run(self, call: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(call)

    def outcome(self, call: Coroutine[Any, Any, T]) -> T | type[Exception]:
        """What the call returned, or the class of what it raised."""
        try:
            return self.run(call)
        except Exception as error:  # noqa: BLE001  # compared with what the model expects
            return type(error)

    def append(self, lease: Lease, first_seq: int, values: list[bytes]) -> tuple[str, int]:
        """APPEND as the appender sends it, whose bulk connection a fake does not have."""
        id_ = lease.request_id
        call = self._scripts.verdict(
            "append",
            [KEYS.request(id_), KEYS.log(id_)],
            *(str(lease.attempt), str(first_seq), KEYS.log_channel(id_), str(len(values))),
            *values,
            max_entries=1000,
            max_output_bytes=1_000_000,
        )
        word, details = self.run(call)
        return word, int(details[0]) if word != "FENCED" else -1

    def listed(self, tenant: str) -> dict[str, tuple[str | None, int]]:
        """The active request and the number of turns of each listed conversation."""

        async def read() -> dict[str, tuple[str | None, int]]:
            summaries = [row.summary async for row in self.conversation_list.newest(tenant)]
            assert None not in summaries, "a conversation is listed and missing"
            return {
                one.conversation_id: (one.active_request_id, one.turns) for one in summaries if one
            }

        return self.run(read())

    def end_lease(self, id_: str, order: int) -> None:
        self.run(self.connections.ask("ZADD", KEYS.running(0), "XX", 1 + order, id_))

    def make_due(self, id_: str, order: int) -> None:
        self.run(self.connections.ask("ZADD", KEYS.delayed(0), "XX", 1 + order, id_))

    def snapshot(self) -> Snapshot:
        return self.run(take_snapshot(self.connections.commands))

    def close(self) -> None:
        self.run(self.connections.aclose())
        self._runner.close()
