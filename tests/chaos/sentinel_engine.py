"""A primary, its replica and three Sentinels, which promote the replica."""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Sequence

import redis

from tests.chaos.engine import Engine, OneAtATime, Schedule
from tests.chaos.history import History, Loss
from tests.support.keyspace import KEYS
from tests.support.replication import catch_up, cut_off, let_copy
from tests.support.sentinel import PASSWORD, Member, Watched, watched_servers
from tests.support.wait import wait_until_sync

_SETTLES_WITHIN_S = 60.0
# Sentinels wait for twice this time between two fail-overs.
_FAILOVER_TIMEOUT_MS = 2000
_SIZES = (1, 4)
_ALL_PARTITIONS = frozenset(range(max(_SIZES)))


class SentinelEngine:
    """The servers. A promoted replica may lack what the primary acknowledged last."""

    kind = "sentinel"
    keys = KEYS
    sizes: Sequence[int] = _SIZES
    partitions = max(sizes)
    tenant_limit = 40

    def __init__(self, watched: Watched) -> None:
        self._watched = watched
        self.url = self.harmed_url = watched.url

    def faults(self, history: History) -> Schedule:
        """Fail-overs of every kind, and connections that are cut."""
        acts = _Faults(self._watched, history)
        alone = OneAtATime().fault
        return {
            "master killed": (4, alone(acts.kill_primary)),
            "master killed whose replica lags": (7, alone(acts.kill_primary_without_a_copy)),
            "master paused": (31, alone(acts.pause_primary)),
            "replica promoted": (17, alone(acts.promote)),
            "pushes cut off": (9, alone(acts.cut_pushes)),
            "scripts forgotten": (11, alone(acts.forget_scripts)),
            "connections reset": (9, alone(acts.reset_connections)),
        }

    async def mend(self) -> None:
        """Nothing is left to undo: every fault lasts to its end."""

    def server_url(self, partition: int) -> str:
        """The primary."""
        del partition
        return self._watched.primary_url()


class _Faults:
    """The faults, one method each, which record what they excuse."""

    def __init__(self, watched: Watched, history: History) -> None:
        self._watched = watched
        self._history = history

    async def kill_primary(self, rng: random.Random) -> None:
        await self._kill(rng, "master killed", lags_s=0)

    async def kill_primary_without_a_copy(self, rng: random.Random) -> None:
        await self._kill(rng, "master killed whose replica lags", lags_s=rng.uniform(0.2, 2))

    async def pause_primary(self, rng: random.Random) -> None:
        """A long pause is a fail-over; until it is demoted, the primary takes more writes."""
        primary, replica = await asyncio.to_thread(self._both)
        with self._history.trouble("master paused"):
            async with self._losing("master paused", primary, replica):
                primary.pause()
                await asyncio.sleep(rng.uniform(0.3, 4))
                primary.resume()
                await self._demote(primary, replica, rng)

    async def promote(self, rng: random.Random) -> None:
        """Sentinels do not wait for the replica, and the primary takes writes until it is told."""
        primary, replica = await asyncio.to_thread(self._both)
        with self._history.trouble("replica promoted"):
            async with self._losing("replica promoted", primary, replica):
                await asyncio.to_thread(self._watched.fail_over)
                await asyncio.to_thread(self._wait_for_promotion, replica)
                await self._demote(primary, replica, rng)

    async def cut_pushes(self, rng: random.Random) -> None:
        await self._tell_both("CLIENT", "KILL", "TYPE", "pubsub")

    async def forget_scripts(self, rng: random.Random) -> None:
        await self._tell_both("SCRIPT", "FLUSH")

    async def reset_connections(self, rng: random.Random) -> None:
        await self._tell_both("CLIENT", "KILL", "TYPE", "normal")

    async def _kill(self, rng: random.Random, kind: str, *, lags_s: float) -> None:
        primary, replica = await asyncio.to_thread(self._both)
        with self._history.trouble(kind):
            async with self._losing(kind, primary, replica):
                if lags_s:
                    await asyncio.to_thread(cut_off, primary.client, replica.client)
                    await asyncio.sleep(lags_s)
                primary.kill()
            await asyncio.to_thread(self._wait_for_promotion, replica)
            await asyncio.sleep(rng.uniform(0, 1))
            begin_s = time.monotonic()
            # A child process has to be started in the main thread, with which it ends.
            primary.start()
            for server in (primary, replica):
                let_copy(server.client, PASSWORD)
            # It becomes a replica at once, which the Sentinels would order in eight seconds.
            await asyncio.to_thread(self._watched.follow, primary, replica)
            if _has_run_scripts(primary):
                loss = Loss("former master back", _ALL_PARTITIONS, begin_s, time.monotonic())
                self._history.losses.append(loss)
            await asyncio.to_thread(self._watched.become_whole)

    @contextlib.asynccontextmanager
    async def _losing(self, kind: str, primary: Member, replica: Member) -> AsyncIterator[None]:
        """Record that writes to the primary may be lost from now on until the end of the block.

        Nothing is lost if it is a primary at the end.
        """
        begin_s = await asyncio.to_thread(catch_up, primary.client, replica.client)
        yield
        end_s = time.monotonic()
        if not await asyncio.to_thread(_takes_writes, primary):
            self._history.losses.append(Loss(kind, _ALL_PARTITIONS, begin_s, end_s))

    async def _demote(self, primary: Member, replica: Member, rng: random.Random) -> None:
        """Demote a primary that was replaced, which the Sentinels do after eight seconds."""
        await asyncio.sleep(rng.uniform(0, 3))
        if await asyncio.to_thread(lambda: self._watched.primary) is replica:
            await asyncio.to_thread(self._watched.follow, primary, replica)
        await asyncio.to_thread(self._watched.become_whole)

    def _both(self) -> tuple[Member, Member]:
        return self._watched.primary, self._watched.replica

    def _wait_for_promotion(self, replica: Member) -> None:
        wait_until_sync(
            lambda: self._watched.primary is replica,
            timeout_s=_SETTLES_WITHIN_S,
            description="the promotion of the replica",
        )

    async def _tell_both(self, *command: str) -> None:
        for server in self._watched.servers.values():
            with contextlib.suppress(redis.ConnectionError):
                await asyncio.to_thread(server.client.execute_command, *command)


def _has_run_scripts(server: Member) -> bool:
    """Whether a former primary has served anybody since it was started, before it was demoted.

    A Sentinel that has not heard of the fail-over may name the former primary once more.
    """
    run = server.client.info("commandstats").get("cmdstat_evalsha", {})
    return bool(run.get("calls", 0) > run.get("failed_calls", 0))


def _takes_writes(server: Member) -> bool:
    with contextlib.suppress(redis.ConnectionError):
        return bool(server.client.info("replication")["role"] == "master")
    return False


@contextlib.asynccontextmanager
async def sentinel_engine() -> AsyncIterator[Engine]:
    """Run the servers and the Sentinels for the length of the block."""
    with watched_servers(failover_timeout_ms=_FAILOVER_TIMEOUT_MS) as watched:
        yield SentinelEngine(watched)
