"""A real cluster on loopback: masters and replicas, which tests kill, promote and move slots of."""

import contextlib
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import redis

from tests.support.servers import in_memory, server_program
from tests.support.wait import wait_until_sync
from tickertape.broker.partition_tags import SLOTS
from tickertape.cli.up.spawn import spawn, stop

PASSWORD = "sesame"
NODE_TIMEOUT_MS = 1000
_HOST = "127.0.0.1"


class Node:
    """One server of a cluster, with the same port and data over all restarts."""

    def __init__(self, directory: Path) -> None:
        self.files = directory
        self.port, self.bus_port = _free_port(), _free_port()
        self.name = f"{_HOST}:{self.port}"
        self.url = f"redis://:{PASSWORD}@{self.name}"
        self._process: subprocess.Popen[bytes] | None = None
        self._log = (directory / "log").open("ab")
        self.client = redis.Redis(_HOST, self.port, password=PASSWORD, protocol=2, socket_timeout=3)

    def start(self, settings: Mapping[str, str] | None = None) -> None:
        """Start, or start again on the same data; `settings` are laid over its own."""
        options = {
            "port": self.port, "bind": _HOST, "dir": self.files, "save": "",
            "appendonly": "yes", "appendfsync": "everysec",
            "requirepass": PASSWORD, "masterauth": PASSWORD,
            "cluster-enabled": "yes", "cluster-port": self.bus_port,
            "cluster-node-timeout": NODE_TIMEOUT_MS, "cluster-allow-replica-migration": "no",
            "repl-diskless-sync-delay": 0, **(settings or {}),
        }  # fmt: skip
        arguments = [part for name, value in options.items() for part in (f"--{name}", str(value))]
        self._process = spawn([server_program(), *arguments], stdout=self._log, stderr=self._log)
        wait_until_sync(self._answers, description=f"{self.name} answers")

    @property
    def pid(self) -> int:
        """The id of the process, which has been started."""
        assert self._process is not None
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether the process runs, paused or not."""
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def pause(self) -> None:
        """SIGSTOP: connections stay open and nothing answers."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)

    def call(self, *command: str | bytes | float) -> Any:
        """The reply to one command, with redis-py's own reading of replies left out."""
        connection = self.client.connection_pool.get_connection()
        try:
            connection.send_command(*command)  # type: ignore[no-untyped-call]  # bare in redis-py
            return connection.read_response()
        finally:
            self.client.connection_pool.release(connection)

    def close(self) -> None:
        """End the process."""
        self.resume()
        if self._process is not None:
            stop(self._process, grace_s=2)
        self.client.close()
        self._log.close()

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def _answers(self) -> bool:
        with contextlib.suppress(redis.ConnectionError, redis.BusyLoadingError):
            return bool(self.client.ping())
        return False


class Cluster:
    """Masters, each with the same number of replicas."""

    def __init__(self, nodes: list[Node], masters: int) -> None:
        self.nodes = nodes
        self._masters = masters

    @property
    def url(self) -> str:
        """The URL for REDIS_URL."""
        return f"redis+cluster://:{PASSWORD}@{','.join(node.name for node in self.nodes)}"

    def build(self) -> None:
        """Join the nodes, and divide the slots among the masters."""
        first, *others = self.nodes
        for number, node in enumerate(self.nodes):
            node.call("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        for node in others:
            node.call("CLUSTER", "MEET", _HOST, first.port, first.bus_port)
        masters = self.nodes[: self._masters]
        bounds = [SLOTS * number // self._masters for number in range(self._masters + 1)]
        for number, master in enumerate(masters):
            master.call("CLUSTER", "ADDSLOTSRANGE", bounds[number], bounds[number + 1] - 1)
        wait_until_sync(
            lambda: all(self._knows_all(node) for node in self.nodes), description="all nodes meet"
        )
        for number, replica in enumerate(self.nodes[self._masters :]):
            replica.call("CLUSTER", "REPLICATE", self.id_of(masters[number % self._masters]))
        self.settle(timeout_s=20)

    def settle(self, timeout_s: float = 20) -> None:
        """Return when every running node sees a whole cluster, and every replica is in step."""
        wait_until_sync(self._is_settled, timeout_s=timeout_s, description="the cluster settles")

    def id_of(self, node: Node) -> str:
        """The id of a node."""
        return str(node.call("CLUSTER", "MYID").decode())

    def owner_of(self, slot: int) -> Node:
        """The master of a slot, as the first node that answers sees it."""
        for node in self.nodes:
            with contextlib.suppress(redis.ConnectionError, redis.TimeoutError):
                for start, end, (_, port, *_), *_ in node.call("CLUSTER", "SLOTS"):
                    if start <= slot <= end:
                        return next(each for each in self.nodes if each.port == port)
        raise AssertionError(f"slot {slot} has no master")

    def slots_of(self, master: Node) -> set[int]:
        """The slots of a master as it knows them itself. Other nodes learn of a move later."""
        return {
            slot
            for start, end, (_, port, *_), *_ in master.call("CLUSTER", "SLOTS")
            if port == master.port
            for slot in range(start, end + 1)
        }

    def masters(self) -> list[Node]:
        """The masters that run, as they see themselves."""
        return [node for node in self.nodes if node.is_running and _role(node) == "master"]

    def replicas_of(self, master: Node) -> list[Node]:
        """The replicas of a master that run."""
        return [
            node
            for node in self.nodes
            if node.is_running and (about := node.client.info("replication"))["role"] == "slave"
            if about["master_port"] == master.port
        ]

    def kill_master_of(self, slot: int) -> Node:
        """Kill the master of a slot with SIGKILL, and return the dead node."""
        master = self.owner_of(slot)
        master.kill()
        return master

    def promote_replica_of(self, slot: int) -> Node:
        """Hand a slot's master over to its replica in an orderly way; the new master."""
        (replica, *_) = self.replicas_of(self.owner_of(slot))
        replica.call("CLUSTER", "FAILOVER")
        wait_until_sync(lambda: _role(replica) == "master", description="the promotion")
        return replica

    def other_master(self, slot: int) -> Node:
        """A master that does not own this slot."""
        owner = self.owner_of(slot)
        return next(node for node in self.masters() if node is not owner and _slots(node))

    def move_slot(self, slot: int) -> Node:
        """Move a slot, in one step if the servers can (Valkey 9); the new master."""
        source, target = self.owner_of(slot), self.other_master(slot)
        if source.call("COMMAND", "INFO", "CLUSTER|MIGRATESLOTS") == [None]:
            self.begin_move(slot)
            self.move_keys(slot, source, target)
            self.end_move(slot, source, target)
            return target
        source.call("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", slot, slot, "NODE", self.id_of(target))
        wait_until_sync(lambda: self._all_see(slot, target), description="the slot moves")
        return target

    def begin_move(self, slot: int) -> tuple[Node, Node]:
        """Open a slot for a move key by key, as every cluster can; its master, and the next one."""
        source, target = self.owner_of(slot), self.other_master(slot)
        target.call("CLUSTER", "SETSLOT", slot, "IMPORTING", self.id_of(source))
        source.call("CLUSTER", "SETSLOT", slot, "MIGRATING", self.id_of(target))
        return source, target

    def move_keys(self, slot: int, source: Node, target: Node, *, most: int = 1_000_000) -> int:
        """Move at most so many keys of an open slot; the number moved."""
        moved = 0
        while moved < most:
            keys = source.call("CLUSTER", "GETKEYSINSLOT", slot, min(10, most - moved))
            if not keys:
                break
            source.call("MIGRATE", _HOST, target.port, "", 0, 5000, "AUTH", PASSWORD, "KEYS", *keys)
            moved += len(keys)
        return moved

    def end_move(self, slot: int, source: Node, target: Node) -> None:
        """Make the next master the owner of a slot whose keys have moved."""
        for node in (target, source, *self.masters()):
            node.call("CLUSTER", "SETSLOT", slot, "NODE", self.id_of(target))
        wait_until_sync(lambda: self._all_see(slot, target), description="the slot moves")

    def revive(self) -> None:
        """Start every dead node again and wait until the cluster is whole."""
        for node in self.nodes:
            node.resume()
            if not node.is_running:
                node.start()
        self.settle()

    def _all_see(self, slot: int, owner: Node) -> bool:
        return all(
            any(
                start <= slot <= end and master[1] == owner.port
                for start, end, master, *_ in node.call("CLUSTER", "SLOTS")
            )
            for node in self.masters()
        )

    def _knows_all(self, node: Node) -> bool:
        return str(node.client.cluster("INFO")["cluster_known_nodes"]) == str(len(self.nodes))

    def _is_settled(self) -> bool:
        running = [node for node in self.nodes if node.is_running]
        with contextlib.suppress(redis.ConnectionError, redis.TimeoutError):
            # A master that was paused takes itself for one until it has heard of its successor.
            return len({_owners(node) for node in running}) == 1 and all(
                node.client.cluster("INFO")["cluster_state"] == "ok"
                and _role(node) in {"master", "replica in step"}
                for node in running
            )
        return False


def _role(node: Node) -> str:
    about = node.client.info("replication")
    if about["role"] == "master":
        return "master"
    return "replica in step" if about["master_link_status"] == "up" else "replica"


def _slots(node: Node) -> bool:
    return any(master[1] == node.port for _, _, master, *_ in node.call("CLUSTER", "SLOTS"))


def _owners(node: Node) -> frozenset[tuple[int, int, int]]:
    """The ranges of slots, and the port of the master of each, as a node sees them."""
    return frozenset(
        (start, end, master[1]) for start, end, master, *_ in node.call("CLUSTER", "SLOTS")
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def valkey_cluster(*, masters: int = 3, replicas: int = 1) -> Iterator[Cluster]:
    """Run a cluster for the length of the block, with `replicas` of each master."""
    parent = Path(tempfile.mkdtemp(prefix="tickertape-cluster-", dir=in_memory()))
    nodes: list[Node] = []
    try:
        for number in range(masters * (1 + replicas)):
            directory = parent / str(number)
            directory.mkdir()
            nodes.append(Node(directory))
            nodes[-1].start()
        cluster = Cluster(nodes, masters)
        cluster.build()
        yield cluster
    finally:
        for node in nodes:
            node.close()
        shutil.rmtree(parent, ignore_errors=True)
