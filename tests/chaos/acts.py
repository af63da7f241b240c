"""The faults of processes and callers, one function each, which returns whether it was injected.

A fault undoes itself at its end; one that is cancelled half-way leaves that to `Faults.mend`.
"""

import asyncio
import functools
import random
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from tests.chaos import upstreams
from tests.chaos.engine import Fault, Schedule
from tests.chaos.history import History
from tests.chaos.members import Member
from tests.chaos.system import LEASE_S, System
from tests.chaos.traffic import Traffic

_HAND_BACK_S = 25
_CHANGES_WITHIN_S = 30


@dataclass
class Stage:
    """The system that the faults harm, and the history that records them."""

    system: System
    traffic: Traffic
    history: History
    paused: set[str] = field(default_factory=set)
    ending: set[str] = field(default_factory=set)

    def choose(self, members: list[Member], rng: random.Random) -> Member | None:
        """A member that runs and that no other fault is harming."""
        busy = self.paused | self.ending
        free = [each for each in members if each.is_running and each.name not in busy]
        return rng.choice(free) if free else None


_Act = Callable[[Stage, random.Random], Awaitable[bool]]


async def kill_worker(stage: Stage, rng: random.Random) -> bool:
    return await _kill(stage, stage.system.workers, rng)


async def kill_api(stage: Stage, rng: random.Random) -> bool:
    return await _kill(stage, stage.system.apis, rng)


async def kill_deliver(stage: Stage, rng: random.Random) -> bool:
    return await _kill(stage, [*stage.system.delivers], rng)


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


async def flood(stage: Stage, rng: random.Random) -> bool:
    await stage.traffic.flood()
    return True


async def pry(stage: Stage, rng: random.Random) -> bool:
    await stage.traffic.pry()
    return True


async def change_partitions(stage: Stage, rng: random.Random) -> bool:
    """`tickertape partitions N`. Half of the calls are killed, and any later one goes on."""
    wanted = rng.choice(stage.system.engine.sizes)
    command = stage.system.command(["partitions", str(wanted)])
    command.start()
    try:
        code = await command.ended(rng.choice([rng.uniform(0, 3), _CHANGES_WITHIN_S]))
    finally:
        command.signal(signal.SIGKILL)
    return code in {0, None}


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
    with stage.history.trouble(f"{member.name} paused"):
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
    has_begun = member.has_begun
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


# The mean seconds between two faults of a kind.
_ACTS: dict[str, tuple[float, _Act]] = {
    "worker killed": (2.6, kill_worker),
    "worker paused beyond its lease": (1.2, pause_worker_beyond_its_lease),
    "worker paused": (9, pause_worker),
    "worker drained": (12, drain_worker),
    "worker hurried": (30, hurry_worker),
    "api killed": (16, kill_api),
    "api stopped": (20, stop_api),
    "api paused": (20, pause_api),
    "flood": (15, flood),
    "pry": (3, pry),
    "all restarted": (55, restart_all),
    "partitions changed": (6, change_partitions),
}


def schedule_of(stage: Stage) -> Schedule:
    """The faults of processes, callers and upstreams, and those of this kind of Redis."""
    acts: dict[str, tuple[float, Fault]] = {
        name: (period_s, functools.partial(act, stage)) for name, (period_s, act) in _ACTS.items()
    }
    of_upstreams = upstreams.faults(stage.system.upstream_proxies)
    if stage.system.handing_on is not None:
        acts["deliver killed"] = (3, functools.partial(kill_deliver, stage))
        acts.update(stage.system.handing_on.faults())
    return {**acts, **of_upstreams, **stage.system.engine.faults(stage.history)}
