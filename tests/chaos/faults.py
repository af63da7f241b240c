"""The schedule of faults: each kind at a separate pace, which the seed decides."""

import asyncio
import contextlib
import random
import signal
from collections import Counter

from tests.chaos.acts import ACTS, Stage, end_at_last

# A short run injects faults more often, so that it has every kind.
_ROUNDS_AT_LEAST = 2.5


class Faults:
    """Injects faults; `mend` undoes what is left of them. `counts` has the number of each kind."""

    def __init__(self, stage: Stage, seed: int) -> None:
        self.counts: Counter[str] = Counter(dict.fromkeys(ACTS, 0))
        self._stage = stage
        self._seed = seed

    async def run(self, seconds: float) -> None:
        """Run every kind of fault, all of them side by side."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds), asyncio.TaskGroup() as group:
                for name in ACTS:
                    group.create_task(self._repeat(name, seconds), name=name)

    async def mend(self) -> None:
        """Undo the faults that are left, so that every process runs again."""
        system = self._stage.system
        system.redis.resume()
        system.proxy.is_blackhole = False
        system.proxy.delay_s = 0
        for member in system.members:
            member.signal(signal.SIGCONT)
            if member.name in self._stage.ending:
                await end_at_last(self._stage, member)
                member.start()
        await system.ready()

    async def _repeat(self, name: str, seconds: float) -> None:
        rng = random.Random(f"{self._seed} {name}")
        period_s, act = ACTS[name]
        period_s = min(period_s, seconds / _ROUNDS_AT_LEAST)
        while True:
            await asyncio.sleep(period_s * rng.uniform(0.5, 1.5))
            if await act(self._stage, rng):
                self.counts[name] += 1
