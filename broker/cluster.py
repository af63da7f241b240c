"""The client of a cluster: redis-py's, with what this project needs added.

redis-py finds the node of each key, follows MOVED and ASK, and asks for the topology again when a
node is lost. Added here: commands without a key, scripts that a promoted replica does not know, a
limit for connections that waits, and limits for how often the topology is asked for.
"""

import bisect
import hashlib
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from redis.asyncio import RedisCluster
from redis.asyncio.cluster import ClusterNode, ClusterPipeline
from redis.asyncio.retry import Retry
from redis.exceptions import (
    AuthenticationError,
    NoScriptError,
    RedisClusterException,
    ResponseError,
)
from redis.exceptions import ConnectionError as ConnectionLost

from tickertape.broker.partition_tags import slot_of
from tickertape.runtime.fair_turns import TENANT, FairTurns

# redis-py asks for the topology after each lost connection, and many commands lose theirs at once.
_LEAST_AGE_S = 0.1
# Commands without a key, which redis-py would send to all nodes.
_KEYLESS = ("TIME", "PING", "INFO", "HELLO", "COMMAND INFO", "ACL WHOAMI")


class Node(NamedTuple):
    """Where a server listens, as it says itself or as the URL says."""

    host: str
    port: int


class NotACluster(ConnectionLost):
    """A node that the URL names says that it is not part of a cluster."""


class ClusterClient(RedisCluster):
    """A RedisCluster whose `execute_command` has at most `max_connections` calls under way.

    `starts` are the nodes that the URL names. `connection` has the class of connections and what
    redis-py does not know; `options` are redis-py's own.
    """

    def __init__(
        self,
        starts: Sequence[Node],
        connection: Mapping[str, Any],
        *,
        max_connections: int,
        retry: Retry,
        **options: Any,
    ) -> None:
        super().__init__(
            startup_nodes=[ClusterNode(*start) for start in starts],
            max_connections=2 * max_connections,
            retry=retry,
            # A part of the cluster that has no master leaves the other partitions alone.
            require_full_coverage=False,
            # redis-py closes all connections of all nodes after so many MOVED.
            reinitialize_steps=0,
            **options,
        )
        self.connection_kwargs |= connection
        self.commands_parser = _FirstKey()  # type: ignore[assignment]  # the part of it that is used
        self.command_flags.update(dict.fromkeys(_KEYLESS, self.DEFAULT_NODE))
        self._starts = starts
        self._turns = FairTurns(max_connections)
        # Separate, because a pipeline that is redirected calls `execute_command`.
        self.pipeline_turns = FairTurns(max_connections)
        self._learned_s = -_LEAST_AGE_S
        # The first slot of each range, and the master of each range.
        self._firsts: list[int] = []
        self._owners: dict[int, Node] = {}
        self._restart()

    async def aclose(self) -> None:
        """As redis-py's, which leaves connections open while the topology is not known."""
        await super().aclose()
        await self.nodes_manager.aclose()
        await self.nodes_manager.aclose("startup_nodes")

    def pipeline(self, transaction: Any = None, shard_hint: Any = None) -> "ClusterPipeline":
        """As redis-py's; executing waits for a free connection as `execute_command` does."""
        del transaction, shard_hint
        return _Pipeline(self)  # type: ignore[abstract]  # redis-py declares an attribute only

    def register_script(self, script: str) -> "ClusterScript":  # type: ignore[override]  # same calls
        """A script that is called with `keys` and `args`."""
        return ClusterScript(self, script)

    async def execute_command(self, *args: Any, **kwargs: Any) -> Any:
        """As redis-py's, after waiting for a free connection instead of failing without one."""
        async with self._turns.turn(TENANT.get()):
            return await super().execute_command(*args, **kwargs)

    async def initialize(self, *args: Any, **kwargs: Any) -> "ClusterClient":
        """As redis-py's, unless the topology was just learned.

        When no known node answers, the next try begins with the nodes that the URL names: all
        nodes may have got other addresses.
        """
        is_fresh = time.monotonic() - self._learned_s < _LEAST_AGE_S
        if self._initialize and is_fresh and self.nodes_manager.default_node is not None:
            self._initialize = False
            return self
        try:
            _ = await super().initialize(*args, **kwargs)
        except RedisClusterException as error:
            self._restart()
            raise _reason(error) from error
        self._learned_s = time.monotonic()
        return self

    async def learn_topology(self) -> None:
        """Ask a node which nodes own which slots; raises as `execute_command`.

        redis-py learns this as well, but would renew all its connections for it.
        """
        found = await self.execute_command("CLUSTER SLOTS")
        asked = self._default_node()
        owners = {}
        for (first, _), nodes in found.items():
            host, port = nodes["primary"]
            # A node that does not know its own address leaves out the host.
            owners[first] = Node(str(host or asked.host), int(port))
        self._firsts, self._owners = sorted(owners), owners

    def owner_of(self, tag: str) -> Node | None:
        """The master of a hash tag's slot as it was last learned; None before that."""
        at = bisect.bisect(self._firsts, slot_of(tag)) - 1
        return self._owners[self._firsts[at]] if at >= 0 else None

    def masters(self) -> list[Node]:
        """The masters of all slots as they were last learned."""
        return sorted(set(self._owners.values()))

    def forget_topology(self) -> None:
        """Have redis-py ask for the topology before its next command."""
        self._initialize = True

    async def _determine_nodes(self, *args: Any, **kwargs: Any) -> list[ClusterNode]:
        nodes: list[ClusterNode | None] = [*await super()._determine_nodes(*args, **kwargs)]
        return [self._default_node() if node is None else node for node in nodes]

    def _default_node(self) -> ClusterNode:
        """The node for commands without a key.

        redis-py has none while it closes its connections, as it does when a node says CLUSTERDOWN.
        A call that had begun would fail with an AttributeError; this error has it repeated.
        """
        node: ClusterNode | None = self.nodes_manager.default_node
        if node is None:
            self._initialize = True
            raise ConnectionLost("the topology of the cluster is not known")
        return node

    def _restart(self) -> None:
        nodes = [ClusterNode(*start, **self.connection_kwargs) for start in self._starts]
        self.nodes_manager.startup_nodes = {node.name: node for node in nodes}


class _Pipeline(ClusterPipeline):
    async def execute(self, *args: Any, **kwargs: Any) -> list[Any]:
        client: Any = self.cluster_client
        async with client.pipeline_turns.turn(TENANT.get()):
            return await super().execute(*args, **kwargs)


class ClusterScript:
    """A script of a ClusterClient, which may be repeated."""

    def __init__(self, client: ClusterClient, script: str) -> None:
        self._client = client
        self._script = script
        self._sha = _sha1(script)

    async def __call__(self, keys: Sequence[Any], args: Sequence[Any]) -> Any:
        """Run the script at the node of its keys. A node that does not know the script gets it."""
        try:
            return await self._client.evalsha(self._sha, len(keys), *keys, *args)
        except NoScriptError:
            # SCRIPT LOAD would go to all masters, and fail with the one that is away.
            return await self._client.eval(self._script, len(keys), *keys, *args)


class _FirstKey:
    """Finds the key of a command: the first argument of all those that this project sends.

    redis-py asks a node about all commands after each loss of a node, which takes a right and time.
    """

    async def initialize(self, node: ClusterNode) -> None:
        """Do nothing."""

    async def get_keys(self, *args: Any) -> list[Any]:
        """The key of a command."""
        return list(args[1:2])


def _reason(error: RedisClusterException) -> Exception:
    """Why no node could be asked for the topology. redis-py's own error says it in words alone."""
    of_node = error.__cause__
    reply = of_node.__context__ if of_node is not None else None
    for found in (of_node, reply):
        if isinstance(found, ResponseError) and "cluster support disabled" in str(found):
            return NotACluster(str(found))
        if isinstance(found, (AuthenticationError, ResponseError)):
            return found
    return ConnectionLost(str(error))


def _sha1(script: str) -> str:
    return hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()
