"""Clients of Redis, each with time-outs and retries chosen for what it does.

redis-py 8 sets a socket time-out of 5 s and ten silent retries for every client. A retry repeats a
write whose reply was lost, so every write here is a script that may be repeated. No command blocks:
redis-py would cut a blocking read at the time-out, and silently repeat the read for a minute.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Connection, Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialWithJitterBackoff, NoBackoff

from tickertape.broker.account import Account, check_same_servers
from tickertape.broker.bulk import Fields, stream_entries
from tickertape.broker.certificates import Certificates
from tickertape.broker.clients import (
    ServerClient,
    check_options,
    cluster_client,
    options_of,
    server_client,
)
from tickertape.broker.cluster import ClusterClient, Node
from tickertape.broker.keys import Keyspace
from tickertape.broker.partitions import Partitions
from tickertape.broker.redis_errors import in_time
from tickertape.broker.sentinel import PrimaryLocator
from tickertape.broker.server_check import check_server
from tickertape.broker.shared_line import LOST, SharedLine
from tickertape.broker.task_faults import TaskFaults
from tickertape.broker.write_state import WriteState
from tickertape.runtime.addresses import hide_secrets, is_cluster
from tickertape.runtime.sentinel_address import is_sentinel, parse_sentinel_url

MAX_COMMAND_CONNECTIONS = 32
# In a cluster, for all nodes together: a node that hangs must leave some for the others.
_MAX_CLUSTER_CONNECTIONS = 128
_RETRIES = 3


@dataclass(frozen=True)
class ConnectionTiming:
    """The time-outs of the clients of Redis. Tests pass shorter ones."""

    connect_timeout_s: float = 3.0
    command_timeout_s: float = 5.0
    # The limit for a command with all its repeats. A command that met a dead connection has time
    # for one more connection; a server that hangs is reported now, not after one time-out for each
    # repeat.
    command_limit_s: float = 6.0


TIMING = ConnectionTiming()

_ONE_SERVER = Node("", 0)


class Connections:
    """The clients of one process for one Redis; `aclose` them at the end.

    Replies are bytes in their RESP2 shapes. Every method raises Unavailable when Redis does not
    answer; the outcome of the command is then unknown. A server that accepts no writes at the
    moment raises WritesRefused, and `writes` has its last word. A command that this account may not
    run raises AccessDenied.
    """

    def __init__(
        self,
        url: str,
        timing: ConnectionTiming = TIMING,
        *,
        namespace: str = "",
        partitions: int = 1,
    ) -> None:
        self._is_cluster = is_cluster(url)
        # Set once the server is known to be one that can be used.
        self.checked = asyncio.Event()
        self.keys = Keyspace(namespace, is_spread=self._is_cluster)
        self._url = url
        self._timing = timing
        self._account = Account()
        self.writes = WriteState(self.address)
        self.faults = TaskFaults()
        self.partitions = Partitions(self, partitions)
        self._locator: PrimaryLocator | None = None
        if is_sentinel(url):
            address = parse_sentinel_url(url)
            url, self._locator = address.server_url, PrimaryLocator(address, self.writes.moved)
        self._server_url = url
        check_options(url)
        self._account.become(url)
        self.certificates = Certificates()
        # What every connection gets from us.
        self._shared = {
            "writes": self.writes,
            "locate": self._locator and self._locator.locate,
            "account": self._account,
            "certificates": self.certificates,
        }
        self.line: SharedLine | None = None
        """The connection for calls of scripts, if there is one server."""
        self.reads: SharedLine | None = None
        """The connection for reads of logs, whose replies may be large."""
        make: Any = cluster_client if self._is_cluster else server_client
        # A ClusterClient is called in the same ways.
        self.commands: Redis = make(
            url,
            timing.connect_timeout_s,
            **self._shared,
            max_connections=(
                _MAX_CLUSTER_CONNECTIONS if self._is_cluster else MAX_COMMAND_CONNECTIONS
            ),
            socket_timeout=timing.command_timeout_s,
            retry=Retry(ExponentialWithJitterBackoff(base=0.02, cap=0.5), _RETRIES),
        )
        if isinstance(self.commands, ServerClient):
            self.line = self.commands.line = self._shared_line("shared line", self.commands)
            self.reads = self._shared_line("shared line for reads", self.commands)

    def _shared_line(self, name: str, client: ServerClient) -> SharedLine:
        return SharedLine(
            name,
            self.unpooled,
            self.writes,
            self.faults,
            client.turns,
            reply_timeout_s=self._timing.command_timeout_s,
        )

    @property
    def is_cluster(self) -> bool:
        """Whether the partitions are spread over several servers."""
        return self._is_cluster

    @property
    def _cluster(self) -> ClusterClient | None:
        client: object = self.commands
        return client if isinstance(client, ClusterClient) else None

    @property
    def address(self) -> str:
        """The address of Redis without the password, for people to read."""
        return hide_secrets(self._url)

    async def ask(self, *command: str | bytes | float) -> Any:
        """The reply to one quick command, which must be safe to repeat: it may be sent twice."""
        async with in_time(self._timing.command_limit_s):
            return await self.commands.execute_command(*command)  # type: ignore[no-untyped-call]  # bare in redis-py

    async def ask_small(self, *command: str | bytes | float) -> Any:
        """As `ask`, for a command whose reply is small: it goes on the shared line, if that is up.

        A pool would take a connection for each reader that comes in the same moment.
        """
        if self.line is not None:
            reply = await self.line.ask(*command, limit_s=self._timing.command_limit_s)
            if reply is not LOST:
                return reply
        return await self.ask(*command)

    async def read_log(self, key: str, first: str, count: int) -> list[tuple[bytes, Fields]]:
        """At most `count` entries of a stream from an id on, each with its fields."""
        command = ("XRANGE", key, first, "+", "COUNT", count)
        if self.reads is not None:
            rows = await self.reads.ask(*command, limit_s=self._timing.command_limit_s)
            if rows is not LOST:
                return stream_entries(rows)
        found: list[tuple[bytes, Fields]] = await self.ask(*command)
        return found

    async def ask_all(self, commands: Sequence[tuple[str | bytes | float, ...]]) -> list[Any]:
        """The replies to many quick commands in one round trip."""
        pipeline = self.commands.pipeline(transaction=False)
        for command in commands:
            pipeline.execute_command(*command)
        async with in_time(self._timing.command_limit_s):
            # Raised here because redis-py would put words in front of the server's message, and
            # "BUSY" would then look like a programming error instead of a refusal.
            replies = list(await pipeline.execute(raise_on_error=False))
            for reply in replies:
                if isinstance(reply, Exception):
                    raise reply
            return replies

    def node_of(self, partition: int) -> Node | None:
        """The node that owns a partition as it was last learned; None if it is not known."""
        # redis-py makes `isinstance` of a client slow, and each claim asks for a node.
        if not self._is_cluster or (cluster := self._cluster) is None:
            return _ONE_SERVER
        return cluster.owner_of(self.keys.tag_text(partition))

    async def learn_topology(self) -> None:
        """Learn which node owns which partition. Does nothing if there is one server."""
        if self._cluster is not None:
            async with in_time(self._timing.command_limit_s):
                await self._cluster.learn_topology()

    def forget_topology(self) -> None:
        """Ask for the topology before the next command: a node was not what it was taken for."""
        if self._cluster is not None:
            self._cluster.forget_topology()

    def unpooled(self, node: Node | None = None) -> Connection:
        """A connection to a node, outside of the pools, for one task; not connected, not retried.

        Without a node, to the server that the URL names first.
        """
        options = options_of(
            self._server_url,
            self._timing.connect_timeout_s,
            **self._shared,
            socket_timeout=self._timing.command_timeout_s,
            retry=Retry(NoBackoff(), 0),
        )
        if node is not None and node != _ONE_SERVER:
            options |= node._asdict()
        connection_class = options.pop("connection_class")
        for option_of_pools in ("max_connections", "timeout"):
            options.pop(option_of_pools, None)
        connection: Connection = connection_class(**options)
        return connection

    async def primary(self) -> str | None:
        """Host and port of the primary that the Sentinels name; None without Sentinels.

        Raises Unavailable.
        """
        if self._locator is None:
            return None
        async with in_time(self._timing.command_limit_s):
            host, port = await self._locator.locate()
            return f"{host}:{port}"

    async def check_primary(self) -> bool:
        """Leave a former primary; returns whether another one could have been named.

        For a while after a fail-over, a process may read the former primary, which lacks what was
        written since. Without Sentinels nothing is asked. Raises Unavailable.
        """
        if self._locator is None:
            return False
        async with in_time(self._timing.command_limit_s):
            await self._locator.ask_again()
        return True

    async def agree_on_partitions(self, partitions: int) -> None:
        """Learn the partition map; the first process of a system makes one with `partitions`.

        Raises SettingsInvalid as `check_server` does, and Unavailable.
        """
        await self.check_server()
        await self.partitions.agree(partitions)

    async def run_lines(self) -> None:
        """Keep the shared lines up until cancelled; without them, redis-py makes their calls.

        Returns at once in a cluster.
        """
        if self.line is not None and self.reads is not None:
            await self.checked.wait()
            async with asyncio.TaskGroup() as lines:
                lines.create_task(self.line.run())
                lines.create_task(self.reads.run())

    async def check_server(self) -> None:
        """Raise SettingsInvalid for another kind of deployment or for a server that is too old.

        Asks until it was answered once; raises Unavailable.
        """
        if not self.checked.is_set():
            await check_server(self)
            self.checked.set()

    async def use_account(self, url: str) -> None:
        """Log in with the accounts in this URL from now on. Open connections stay as they are.

        The accounts are tried first. Nothing changes if Redis or all Sentinels refuse them. Raises
        SettingsInvalid if more than the accounts differ from the URL in use, and Unavailable.
        """
        check_same_servers(self._url, url)
        trial = Connections(url, self._timing)
        try:
            await trial.ask("PING")
        finally:
            await trial.aclose()
        self._url = url
        self._account.become(url)
        if self._locator is not None:
            await self._locator.use_account(parse_sentinel_url(url))

    async def aclose(self) -> None:
        """Close all pooled connections; safe to call twice."""
        await self.commands.aclose()
        if self._locator is not None:
            await self._locator.aclose()
