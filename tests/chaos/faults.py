"""The schedule of faults: each kind at a separate pace, which the seed decides."""

import asyncio
import contextlib
import random
import signal
from collections import Counter

from tests.chaos.acts import Stage, end_at_last, schedule_of

# A short run injects faults more often, so that it has every kind.
_ROUNDS_AT_LEAST = 2.5


class Faults:
    """Injects faults; `mend` undoes what is left of them. `counts` has the number of each kind."""

    def __init__(self, stage: Stage, seed: int) -> None:
        self._schedule = schedule_of(stage)
        self.counts: Counter[str] = Counter(dict.fromkeys(self._schedule, 0))
        self._stage = stage
        self._seed = seed

    async def run(self, seconds: float) -> None:
        """Run every kind of fault, all of them side by side."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds), asyncio.TaskGroup() as group:
                for name in self._schedule:
                    group.create_task(self._repeat(name, seconds), name=name)

    async def mend(self) -> None:
        """Undo the faults that are left, so that every process runs again."""
        system = self._stage.system
        await system.engine.mend()
        for member in system.members:
            member.signal(signal.SIGCONT)
            if member.name in self._stage.ending:
                await end_at_last(self._stage, member)
                member.start()
        await system.ready()

    async def _repeat(self, name: str, seconds: float) -> None:
        rng = random.Random(f"{self._seed} {name}")
        period_s, inject = self._schedule[name]
        period_s = min(period_s, seconds / _ROUNDS_AT_LEAST)
        while True:
            await asyncio.sleep(period_s * rng.uniform(0.5, 1.5))
            if await inject(rng):
                self.counts[name] += 1
