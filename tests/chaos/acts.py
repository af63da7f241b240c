"""The faults of a running system, one function each, which returns whether it was injected.

A fault undoes itself at its end; one that is cancelled half-way leaves that to `Faults.mend`.
"""

import asyncio
import contextlib
import random
import signal
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field

from tests.chaos.history import History, Trouble
from tests.chaos.members import BEGINS_WITHIN_S, Member
from tests.chaos.system import LEASE_S, System
from tests.chaos.traffic import Traffic
from tickertape.broker.connections import Connections
from tickertape.broker.errors import Unavailable

_HAND_BACK_S = 25


@dataclass
class Stage:
    """The system that the faults harm, and the history that records them."""

    system: System
    traffic: Traffic
    history: History
    paused: set[str] = field(default_factory=set)
    ending: set[str] = field(default_factory=set)
    redis_lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    @contextlib.contextmanager
    def trouble(self, kind: str) -> Iterator[None]:
        """Record that the harmed part is excused from its duties until the end of the block."""
        begin_s = time.monotonic()
        try:
            yield
        finally:
            self.history.troubles.append(Trouble(kind, begin_s, time.monotonic()))

    def choose(self, members: list[Member], rng: random.Random) -> Member | None:
        """A member that runs and that no other fault is harming."""
        busy = self.paused | self.ending
        free = [each for each in members if each.is_running and each.name not in busy]
        return rng.choice(free) if free else None


Act = Callable[[Stage, random.Random], Awaitable[bool]]


async def kill_worker(stage: Stage, rng: random.Random) -> bool:
    return await _kill(stage, stage.system.workers, rng)


async def kill_api(stage: Stage, rng: random.Random) -> bool:
    return await _kill(stage, stage.system.apis, rng)


async def pause_worker_beyond_its_lease(stage: Stage, rng: random.Random) -> bool:
    return await _pause(stage, stage.system.workers, rng, rng.uniform(1.3, 2.8) * LEASE_S)


async def pause_worker(stage: Stage, rng: random.Random) -> bool:
    return await _pause(stage, stage.system.workers, rng, rng.uniform(0.1, 0.6) * LEASE_S)


async def pause_api(stage: Stage, rng: random.Random) -> bool:
    return await _pause(stage, stage.system.apis, rng, rng.uniform(0.2, 3))


async def drain_worker(stage: Stage, rng: random.Random) -> bool:
    return await _end_in_order(stage, stage.system.workers, rng, signals=1)


async def hurry_worker(stage: Stage, rng: random.Random) -> bool:
    """SIGTERM twice, so that the worker releases its requests without waiting for their ends."""
    return await _end_in_order(stage, stage.system.workers, rng, signals=2)


async def stop_api(stage: Stage, rng: random.Random) -> bool:
    return await _end_in_order(stage, stage.system.apis, rng, signals=1)


async def restart_all(stage: Stage, rng: random.Random) -> bool:
    """A new version is rolled out: one process after the other, in order."""
    for member in stage.system.members:
        if stage.choose([member], rng) is not None:
            await _restart(stage, member, signals=1)
    return True


async def kill_redis(stage: Stage, rng: random.Random) -> bool:
    async with stage.redis_lock:
        with stage.trouble("redis killed"):
            stage.system.redis.kill()
            try:
                await asyncio.sleep(rng.uniform(0.1, 2))
            finally:
                stage.system.redis.start()
            await asyncio.sleep(LEASE_S)
    return True


async def pause_redis(stage: Stage, rng: random.Random) -> bool:
    async with stage.redis_lock:
        with stage.trouble("redis paused"):
            stage.system.redis.pause()
            try:
                await asyncio.sleep(rng.uniform(0.3, 4))
            finally:
                stage.system.redis.resume()
    return True


async def cut_pushes(stage: Stage, rng: random.Random) -> bool:
    return await _ask_redis(stage, "CLIENT", "KILL", "TYPE", "pubsub")


async def forget_scripts(stage: Stage, rng: random.Random) -> bool:
    return await _ask_redis(stage, "SCRIPT", "FLUSH")


async def reset_connections(stage: Stage, rng: random.Random) -> bool:
    stage.system.proxy.reset_all()
    return True


async def lose_reply(stage: Stage, rng: random.Random) -> bool:
    """The next script called through the proxy is run, and its reply is lost."""
    stage.system.proxy.lose_reply_to(b"EVALSHA")
    return True


async def swallow_connections(stage: Stage, rng: random.Random) -> bool:
    with stage.trouble("connections swallowed"):
        stage.system.proxy.is_blackhole = True
        try:
            await asyncio.sleep(rng.uniform(0.2, 2))
        finally:
            stage.system.proxy.is_blackhole = False
        # Connections that lost bytes stay dead until their time-out.
        await asyncio.sleep(5)
    return True


async def slow_connections(stage: Stage, rng: random.Random) -> bool:
    with stage.trouble("connections slow"):
        stage.system.proxy.delay_s = rng.uniform(0.01, 0.1)
        try:
            await asyncio.sleep(rng.uniform(1, 3))
        finally:
            stage.system.proxy.delay_s = 0
    return True


async def flood(stage: Stage, rng: random.Random) -> bool:
    await stage.traffic.flood()
    return True


async def pry(stage: Stage, rng: random.Random) -> bool:
    await stage.traffic.pry()
    return True


async def _kill(stage: Stage, members: list[Member], rng: random.Random) -> bool:
    member = stage.choose(members, rng)
    if member is None:
        return False
    member.signal(signal.SIGKILL)
    await _start_again(stage, member)
    return True


async def _pause(stage: Stage, members: list[Member], rng: random.Random, seconds: float) -> bool:
    member = stage.choose(members, rng)
    if member is None:
        return False
    pid = member.pid
    stage.paused.add(member.name)
    with stage.trouble(f"{member.name} paused"):
        try:
            member.signal(signal.SIGSTOP)
            await asyncio.sleep(seconds)
        finally:
            stage.paused.discard(member.name)
            # Another fault may have killed the process and started a new one.
            was_there = member.is_running and member.pid == pid
            if was_there:
                member.signal(signal.SIGCONT)
    return was_there


async def _end_in_order(
    stage: Stage, members: list[Member], rng: random.Random, *, signals: int
) -> bool:
    member = stage.choose(members, rng)
    if member is None:
        return False
    return await _restart(stage, member, signals=signals)


async def _restart(stage: Stage, member: Member, *, signals: int) -> bool:
    has_begun = member.age_s > BEGINS_WITHIN_S
    for _ in range(signals):
        member.signal(signal.SIGTERM)
    code = await _start_again(stage, member)
    # The last of several signals may reach a program whose loop is closed and handles no signal.
    is_met_at_the_door = signals > 1 and code == -signal.SIGTERM
    if code not in {0, None} and has_begun and not is_met_at_the_door:
        stage.history.odd.append(f"{member.name} was stopped, and ended with {code}")
    return True


async def _start_again(stage: Stage, member: Member) -> int | None:
    """Wait for the end of a stopped member; returns its exit code."""
    stage.ending.add(member.name)
    code = await end_at_last(stage, member)
    member.start()
    stage.ending.discard(member.name)
    return code


async def end_at_last(stage: Stage, member: Member) -> int | None:
    """The exit code of a stopped member. If it does not end, it is recorded as odd and killed."""
    code = await member.ended(_HAND_BACK_S)
    if code is None:
        stage.history.odd.append(f"{member.name} was stopped, and did not end")
        await member.kill()
    return code


async def _ask_redis(stage: Stage, *command: str) -> bool:
    # Not redis-py by itself, in which the cancellation at the end of a run can vanish: then the
    # fault would be repeated without limit.
    async with contextlib.aclosing(Connections(stage.system.redis.url)) as connections:
        try:
            await connections.ask(*command)
        except Unavailable:
            return False
    return True


# The mean seconds between two faults of a kind.
ACTS: dict[str, tuple[float, Act]] = {
    "worker killed": (2.6, kill_worker),
    "worker paused beyond its lease": (1.2, pause_worker_beyond_its_lease),
    "worker paused": (9, pause_worker),
    "worker drained": (12, drain_worker),
    "worker hurried": (30, hurry_worker),
    "redis killed": (16, kill_redis),
    "redis paused": (24, pause_redis),
    "api killed": (16, kill_api),
    "api stopped": (20, stop_api),
    "api paused": (20, pause_api),
    "pushes cut off": (9, cut_pushes),
    "scripts forgotten": (11, forget_scripts),
    "connections reset": (9, reset_connections),
    "connections swallowed": (21, swallow_connections),
    "connections slow": (17, slow_connections),
    "reply lost": (6, lose_reply),
    "flood": (15, flood),
    "pry": (3, pry),
    "all restarted": (55, restart_all),
}
