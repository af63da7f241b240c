"""One chaos run: traffic and faults for a time, then rest, then the verdict."""

import asyncio
import random
import tempfile
import time
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import aiohttp

from tests.chaos.acts import Stage
from tests.chaos.aftermath import gather_history, wait_for_rest
from tests.chaos.client import Client
from tests.chaos.faults import Faults
from tests.chaos.history import Final, History
from tests.chaos.invariants import violations
from tests.chaos.losses import documented_losses
from tests.chaos.members import preload
from tests.chaos.system import ENGINES, MAX_CRASHES, WITHOUT_FENCE, Recipe, running_system
from tests.chaos.tenants import TENANTS
from tests.chaos.traffic import Traffic

_SUBMITS_PER_S = 5.0
# All accepted requests have to end within this time, and every reader has to receive the end.
_REST_WITHIN_S = 60
_CONTROL_REST_WITHIN_S = 4
_SHOWN_PER_INVARIANT = 8


@dataclass
class Verdict:
    """The result of a run."""

    kind: str
    seed: int
    seconds: float
    is_fenced: bool
    counts: Counter[str]
    history: History
    broken: dict[str, list[str]] = field(default_factory=dict)
    rest_s: float = 0

    @property
    def violation_count(self) -> int:
        """How often an invariant was broken."""
        return sum(map(len, self.broken.values()))

    def report(self) -> str:
        """A readable report: the traffic, the faults, the outcomes, and the violations."""
        finals = [final for _, final in self.history.outcomes()]
        states = Counter(final.terminal.kind if final.terminal else "open" for final in finals)
        attempts = Counter(len(list(final.attempts())) for final in finals)
        subscribers = self.history.subscribers
        epoch = sum(e.kind == "rewind" for each in subscribers for e in each.events)
        connections = sum(each.connections for each in subscribers)
        events = sum(len(each.events) for each in subscribers)
        fence = "fenced" if self.is_fenced else "NO FENCE"
        lines = [
            f"{self.kind}, seed {self.seed}, {self.seconds:g} s, {fence}",
            "faults: " + ", ".join(f"{name} {count}" for name, count in self.counts.items()),
            f"requests: {len(finals)}, {_told(states)}; refused {len(self.history.refusals)}",
            f"failed: {_told(_codes(finals)) or 'none'}",
            f"attempts: {_told(attempts)}",
            f"functions: {_told(Counter(str(step.event) for step in self.history.steps))}",
            f"cancels: {len(self.history.cancels)}; upstream calls: {len(self.history.calls)}",
            f"calls repeated: {_told(self.history.repeats) or 'none'}",
            f"readers: {len(subscribers)}, over {connections} connections",
            f"events: {events}, of which epoch {epoch}",
            f"at rest {self.rest_s:.1f} s after the last fault",
            f"writes may be lost: {_lengths(self.history) or 'never'}",
        ]
        lost = documented_losses(self.history)
        lines.append(f"documented losses: {len(lost)}")
        lines += [f"    {reason}" for reason in lost[:_SHOWN_PER_INVARIANT]]
        for name, problems in self.broken.items():
            lines.append(f"{name}: broken {len(problems)} times")
            lines += [f"    {problem}" for problem in problems[:_SHOWN_PER_INVARIANT]]
        lines.append(f"violations: {self.violation_count}")
        return "\n".join(lines)


async def run(
    seconds: float,
    seed: int,
    *,
    kind: str = "one",
    is_fenced: bool = True,
    upstreams: int = 1,
    hands_on: bool = False,
    log_directory: Path | None = None,
) -> Verdict:
    """Run for a time and judge. The same seed does the same things, if not at the same moments.

    `kind` is that of Redis: "one", "sentinel" or "cluster". With `hands_on`, a receiver of webhooks
    and a database get what has ended. What the processes log is kept in
    `log_directory`, if there is one.
    """
    preload()
    history = History(max_crashes=MAX_CRASHES)
    async with AsyncExitStack() as stack:
        directory = log_directory or Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="chaos-"))
        )
        directory.mkdir(parents=True, exist_ok=True)
        recipe = Recipe() if is_fenced else WITHOUT_FENCE
        recipe = replace(recipe, upstreams=upstreams, has_functions=True, hands_on=hands_on)
        running = running_system(directory, recipe, engine=ENGINES[kind])
        system = await stack.enter_async_context(running)
        connector = aiohttp.TCPConnector(limit=0)
        session = await stack.enter_async_context(aiohttp.ClientSession(connector=connector))
        clients = [Client(session, system.api_urls, tenant, history, seed) for tenant in TENANTS]
        traffic = Traffic(clients, history, random.Random(f"{seed} traffic"), _SUBMITS_PER_S)
        faults = Faults(Stage(system, traffic, history), seed)
        submitting = asyncio.create_task(traffic.run(), name="traffic")
        stack.push_async_callback(traffic.stop)
        await faults.run(seconds)
        submitting.cancel()
        await faults.mend()
        mended_s = time.monotonic()
        patience_s = _REST_WITHIN_S if is_fenced else _CONTROL_REST_WITHIN_S
        await wait_for_rest(system, traffic, history, patience_s)
        if system.handing_on is not None:
            history.handed = await system.handing_on.handed(system.engine.url, patience_s)
        verdict = Verdict(kind, seed, seconds, is_fenced, faults.counts, history)
        verdict.rest_s = time.monotonic() - mended_s
        await gather_history(system, clients, traffic, history)
    verdict.broken = violations(history)
    return verdict


def _told(counts: Counter[object] | Counter[str] | Counter[int]) -> str:
    return ", ".join(f"{name}: {count}" for name, count in sorted(counts.items(), key=str))


def _lengths(history: History) -> str:
    lengths = ((loss, loss.end_s - loss.begin_s) for loss in history.losses)
    return ", ".join(f"{loss.kind} {seconds:.2f} s" for loss, seconds in lengths)


def _codes(finals: list[Final]) -> Counter[str]:
    ends = [final.terminal for final in finals if final.terminal is not None]
    return Counter(str(end.data.get("code")) for end in ends if end.kind == "failed")
