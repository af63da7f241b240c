"""One tenant floods the system, and another one submits one request after the other.

The second tenant waits for the first delta of each answer. Its 95th percentile during the flood is
compared with the one that it had alone, on the same processes.
"""

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import msgspec

from tests.chaos.members import Member, preload
from tests.chaos.one_server import whole_server
from tests.chaos.system import Recipe, System, running_system
from tests.isolation.one_tenant import FLOODING
from tests.support.programs import environment
from tests.support.prompted import Plan

CALM, CROWD = "the-key-of-the-calm-one", "the-key-of-the-crowd"
MOST_RATIO = 2.0
_ROOT = Path(__file__).resolve().parent.parent.parent
_WARM_UP = 50
# The niceness of this process's session. One step of niceness is a quarter of the weight.
_WEIGHT, _TWICE = Path("/proc/self/autogroup"), -3
_OPENS_WITHIN_S = 120
_SHORT = Plan(deltas=3, tag="calm")
_SETTINGS = {
    "TICKERTAPE_API_KEYS": f"calm:{CALM},crowd:{CROWD}",
    "TICKERTAPE_ADDRESS_CONNECTIONS": "0",
    "TICKERTAPE_LEASE_S": "5",
    "TICKERTAPE_STALL_S": "60",
    # Fewer than the slots of the workers, which are 72. Otherwise each request of another tenant
    # waits until a slot becomes free.
    "TICKERTAPE_TENANT_LIMIT": "60",
    "TICKERTAPE_HEARTBEAT_S": "15",
}


@dataclass
class Waits:
    """The seconds from a submit to its first delta, of many submits."""

    alone_s: list[float] = field(default_factory=list)
    flooded_s: list[float] = field(default_factory=list)
    # The seconds in which the event loop of the API computed, for whichever tenant. Other programs
    # on the machine do not change these.
    computed_alone_s: list[float] = field(default_factory=list)
    computed_flooded_s: list[float] = field(default_factory=list)
    crowd: dict[str, int] = field(default_factory=dict)
    took_s: float = 0

    @property
    def ratio(self) -> float:
        """The 95th percentile during the flood, for each second of the one alone."""
        return _percentile(self.flooded_s, 0.95) / _percentile(self.alone_s, 0.95)

    def report(self) -> str:
        """The result in words."""
        crowd = ", ".join(f"{name}: {count:,}" for name, count in sorted(self.crowd.items()))
        return "\n".join(
            [
                f"alone:   {_in_words(self.alone_s)}",
                f"flooded: {_in_words(self.flooded_s)}, in {self.took_s:.0f} s",
                f"computed alone:   {_in_words(self.computed_alone_s)}",
                f"computed flooded: {_in_words(self.computed_flooded_s)}",
                f"the crowd got {crowd}",
                f"p95 is {self.ratio:.2f} times that of the tenant alone",
            ]
        )


@dataclass(frozen=True)
class Flood:
    """What the first tenant does."""

    submits: int
    streams: int
    has_bodies: bool = True


async def flood(directory: Path, of: Flood, *, asks: int = 300) -> Waits:
    """Measure `asks` submits alone, and at least as many during the flood."""
    preload()
    waits = Waits()
    recipe = Recipe(
        settings=_SETTINGS,
        prepare_apis=(_have_twice_the_weight, _have_twice_the_weight),
        prepare_workers=_leave_session,
    )
    async with (
        running_system(directory, recipe, engine=whole_server) as system,
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {CALM}"}) as session,
    ):
        for _ in range(_WARM_UP):
            await _ask(session, system)
        for _ in range(asks):
            took_s, computed_s = await _ask(session, system)
            waits.alone_s.append(took_s)
            waits.computed_alone_s.append(computed_s)
        await _measure_flooded(session, system, waits, asks, of)
    return waits


def _leave_session() -> None:
    """Begin a session of its own in a process, as one that a service manager or container starts.

    Linux shares the processors out by sessions first. In one session, the API, three workers, the
    flood and the measured client together had the time of one program, and Redis and the upstream,
    which have sessions of their own, had the same each. So the API waited for its turn behind them.
    """
    os.setsid()


def _have_twice_the_weight() -> None:
    """Begin a session with twice the weight of others, as the deployment files give to an API.

    Only root may do that, and only Linux has such sessions. On others, the weights stay equal.
    """
    _leave_session()
    with contextlib.suppress(OSError):
        _WEIGHT.write_text(str(_TWICE), "utf-8")


async def _measure_flooded(
    session: aiohttp.ClientSession, system: System, waits: Waits, asks: int, of: Flood
) -> None:
    began_s = time.monotonic()
    async with _flooding(system.api_urls[0], of) as counting:
        while len(waits.flooded_s) < asks or not counting.done():
            took_s, computed_s = await _ask(session, system)
            waits.flooded_s.append(took_s)
            waits.computed_flooded_s.append(computed_s)
        waits.crowd = msgspec.json.decode(counting.result(), type=dict[str, int])
    waits.took_s = time.monotonic() - began_s


async def _ask(session: aiohttp.ClientSession, system: System) -> tuple[float, float]:
    """The seconds from a submit to its first delta, and those in which the API computed."""
    url = system.api_urls[0]
    began_s, computed_before_s = time.perf_counter(), _computed_s(system.apis[0])
    async with session.post(f"{url}/chat", json={"message": _SHORT.prompt()}) as answer:
        request_id = (await answer.json())["request_id"]
    received, took_s, computed_s = b"", 0.0, 0.0
    async with session.get(f"{url}/chat/{request_id}/stream") as stream:
        async for data in stream.content.iter_any():
            received += data
            if b"event: delta" in received:
                took_s = time.perf_counter() - began_s
                computed_s = _computed_s(system.apis[0]) - computed_before_s
                break
        async for _ in stream.content.iter_any():
            pass
    return took_s, computed_s


def _computed_s(api: Member) -> float:
    """The time of the processor that the thread of the event loop has had, by the kernel."""
    return int(Path(f"/proc/{api.pid}/schedstat").read_text().split()[0]) / 1e9


@contextlib.asynccontextmanager
async def _flooding(url: str, of: Flood) -> AsyncIterator["asyncio.Task[bytes]"]:
    """The flood for the length of the block, and a task that ends with its counts."""
    argv = [
        sys.executable, "-m", "tests.isolation.one_tenant", url, CROWD,
        f"--submits={of.submits}", f"--streams={of.streams}",
    ]  # fmt: skip
    if not of.has_bodies:
        argv.append("--without-bodies")
    process = await asyncio.create_subprocess_exec(
        *argv,
        cwd=_ROOT,
        env=environment(),
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(_OPENS_WITHIN_S):
            assert await process.stdout.readline() == FLOODING
        counting = asyncio.create_task(process.stdout.readline(), name="counts of the flood")
        yield counting
    finally:
        process.kill()
        await process.wait()


def _percentile(seconds: list[float], share: float) -> float:
    return sorted(seconds)[int(len(seconds) * share)]


def _in_words(seconds: list[float]) -> str:
    shares = {name: _percentile(seconds, share) for name, share in _SHARES.items()}
    words = ", ".join(f"{name} {value * 1000:.1f} ms" for name, value in shares.items())
    return f"{words} of {len(seconds):,}"


_SHARES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
