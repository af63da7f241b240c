"""A cluster of three masters with a replica each, which are killed, promoted and passed slots."""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Sequence
from functools import partial

import redis

from tests.chaos.engine import Engine, OneAtATime, Schedule
from tests.chaos.history import History, Loss
from tests.support.cluster import PASSWORD, Cluster, Node, valkey_cluster
from tests.support.replication import catch_up, cut_off, let_copy
from tests.support.wait import wait_until_sync
from tickertape.broker.keys import Keyspace
from tickertape.broker.partition_tags import slot_of

_PARTITIONS = 16
# A busy machine needs many times the two seconds of an idle one.
_SETTLES_WITHIN_S = 60.0


class ClusterEngine:
    """The cluster. A promoted replica may lack what its master acknowledged last."""

    kind = "cluster"
    keys = Keyspace(is_spread=True)
    sizes: Sequence[int] = (5, _PARTITIONS)
    partitions = _PARTITIONS
    tenant_limit = 128

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self.url = self.harmed_url = cluster.url
        self.slots = [slot_of(self.keys.tag_text(number)) for number in range(_PARTITIONS)]

    def faults(self, history: History) -> Schedule:
        """Fail-overs of every kind, slots that move, and connections that are cut."""
        acts = _Faults(self._cluster, self.slots, history)
        alone = OneAtATime().fault
        return {
            "master killed": (5, alone(acts.kill_master)),
            "master killed whose replica lags": (9, alone(acts.kill_master_without_a_copy)),
            "master paused": (21, alone(acts.pause_master)),
            "replica promoted in order": (17, alone(acts.promote_in_order)),
            "replica promoted that lags": (14, alone(acts.promote_without_a_copy)),
            "slot moved": (2, alone(acts.move_slot)),
            "slot moved key by key": (5, alone(acts.move_slot_key_by_key)),
            "pushes cut off": (9, alone(acts.cut_pushes)),
            "scripts forgotten": (11, alone(acts.forget_scripts)),
            "connections reset": (9, alone(acts.reset_connections)),
        }

    async def mend(self) -> None:
        """Nothing is left to undo: every fault lasts to its end."""

    def server_url(self, partition: int) -> str:
        """The master of a partition."""
        return f"redis://:{PASSWORD}@{self._cluster.owner_of(self.slots[partition]).name}"


class _Faults:
    """The faults, one method each, which record what they excuse."""

    def __init__(self, cluster: Cluster, slots: list[int], history: History) -> None:
        self._cluster = cluster
        self._slots = slots
        self._history = history

    async def kill_master(self, rng: random.Random) -> None:
        await self._kill(rng, "master killed", lags_s=0)

    async def kill_master_without_a_copy(self, rng: random.Random) -> None:
        await self._kill(rng, "master killed whose replica lags", lags_s=rng.uniform(0.2, 2))

    async def pause_master(self, rng: random.Random) -> None:
        """A pause beyond the node time-out is a fail-over; the master then takes writes in vain."""
        master, replica = await asyncio.to_thread(self._choose, rng)
        with self._history.trouble("master paused"):
            async with self._losing("master paused", master, replica):
                master.pause()
                await asyncio.sleep(rng.uniform(0.3, 4))
                master.resume()
                await self._settle()

    async def promote_in_order(self, rng: random.Random) -> None:
        with self._history.trouble("replica promoted"):
            slot = rng.choice(self._slots)
            await asyncio.to_thread(self._cluster.promote_replica_of, slot)
            await self._settle()

    async def promote_without_a_copy(self, rng: random.Random) -> None:
        """The replica takes over without a word to its master, which lives."""
        kind = "replica promoted that lags"
        master, replica = await asyncio.to_thread(self._choose, rng)
        with self._history.trouble(kind):
            async with self._losing(kind, master, replica):
                await self._lag(master, replica, rng.uniform(0.2, 2))
                await asyncio.to_thread(replica.call, "CLUSTER", "FAILOVER", "TAKEOVER")
                let_copy(replica.client, PASSWORD)
                await self._settle()

    async def move_slot(self, rng: random.Random) -> None:
        with self._history.trouble("slot moved"):
            await asyncio.to_thread(self._cluster.move_slot, rng.choice(self._slots))

    async def move_slot_key_by_key(self, rng: random.Random) -> None:
        """With a pause in which each of the two masters has a part of the keys."""
        slot = rng.choice(self._slots)
        move = self._cluster.move_keys
        with self._history.trouble("slot moved"):
            source, target = await asyncio.to_thread(self._cluster.begin_move, slot)
            await asyncio.to_thread(partial(move, slot, source, target, most=20))
            await asyncio.sleep(rng.uniform(0, 0.5))
            await asyncio.to_thread(move, slot, source, target)
            await asyncio.to_thread(self._cluster.end_move, slot, source, target)

    async def cut_pushes(self, rng: random.Random) -> None:
        await self._tell_all("CLIENT", "KILL", "TYPE", "pubsub")

    async def forget_scripts(self, rng: random.Random) -> None:
        await self._tell_all("SCRIPT", "FLUSH")

    async def reset_connections(self, rng: random.Random) -> None:
        await self._tell_all("CLIENT", "KILL", "TYPE", "normal")

    async def _kill(self, rng: random.Random, kind: str, *, lags_s: float) -> None:
        master, replica = await asyncio.to_thread(self._choose, rng)
        with self._history.trouble(kind):
            async with self._losing(kind, master, replica):
                if lags_s:
                    await self._lag(master, replica, lags_s)
                master.kill()
            await asyncio.to_thread(self._wait_for_promotion, replica)
            let_copy(replica.client, PASSWORD)
            await asyncio.sleep(rng.uniform(0, 1))
            # A child process has to be started in the main thread, with which it ends.
            master.start()
            await self._settle()

    @contextlib.asynccontextmanager
    async def _losing(self, kind: str, master: Node, replica: Node) -> AsyncIterator[None]:
        """Record that writes to a master may be lost from now on until the end of the block.

        Nothing is lost if it is a master at the end.
        """
        begin_s = await asyncio.to_thread(catch_up, master.client, replica.client)
        owned = await asyncio.to_thread(self._cluster.slots_of, master)
        partitions = frozenset(n for n, slot in enumerate(self._slots) if slot in owned)
        yield
        end_s = time.monotonic()
        if master not in await asyncio.to_thread(self._cluster.masters):
            self._history.losses.append(Loss(kind, partitions, begin_s, end_s))

    async def _lag(self, master: Node, replica: Node, seconds: float) -> None:
        await asyncio.to_thread(cut_off, master.client, replica.client)
        await asyncio.sleep(seconds)

    async def _settle(self) -> None:
        await asyncio.to_thread(self._cluster.settle, _SETTLES_WITHIN_S)

    def _choose(self, rng: random.Random) -> tuple[Node, Node]:
        """The master of some partition, and its replica."""
        master = self._cluster.owner_of(rng.choice(self._slots))
        (replica,) = self._cluster.replicas_of(master)
        return master, replica

    def _wait_for_promotion(self, replica: Node) -> None:
        wait_until_sync(
            lambda: replica in self._cluster.masters(),
            timeout_s=_SETTLES_WITHIN_S,
            description="the promotion of the replica",
        )

    async def _tell_all(self, *command: str) -> None:
        for node in self._cluster.nodes:
            with contextlib.suppress(redis.ConnectionError):
                await asyncio.to_thread(node.call, *command)


@contextlib.asynccontextmanager
async def cluster_engine() -> AsyncIterator[Engine]:
    """Run the cluster for the length of the block."""
    with valkey_cluster() as cluster:
        yield ClusterEngine(cluster)
