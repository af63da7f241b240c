"""The clients of a rolling run: each asks over one wire, and again as soon as it has its answer."""

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from openai import AsyncOpenAI

from tests.support.callers import Caller
from tests.support.prompted import Plan
from tests.support.wait import wait_until
from tests.support.wire_calls import Ask, Asked

_RATE_PER_S = 5.0
_POLL_S = 0.5
_SHOWN_CHARACTERS = 100


@dataclass
class Heard:
    """What the clients got: whole answers by wire, and all else in words."""

    asked: int = 0
    whole: Counter[str] = field(default_factory=Counter)
    odd: list[str] = field(default_factory=list)


class Clients:
    """`count` clients, spread over the wires, whose answers take `shortest_s` to `longest_s`."""

    def __init__(
        self,
        caller: Caller,
        sdk: AsyncOpenAI,
        wires: Sequence[Ask],
        count: int,
        seconds: tuple[float, float],
        seed: int,
    ) -> None:
        self.heard = Heard()
        self.longest_s = seconds[1]
        self._caller = caller
        self._sdk = sdk
        self._seconds = seconds
        self._rng = random.Random(seed)
        self._is_over = False
        self._tasks = [
            asyncio.create_task(self._go_on_asking(wires[n % len(wires)]), name=f"client {n}")
            for n in range(count)
        ]

    async def go_on(self) -> None:
        """Wait until all of them have begun another call, on average."""
        goal = self.heard.asked + len(self._tasks)
        await wait_until(
            lambda: self.heard.asked >= goal,
            timeout_s=60 + 2 * self.longest_s,
            description="the clients to go on",
        )

    async def end(self) -> None:
        """Let each client end with the answer that it waits for."""
        self._is_over = True
        async with asyncio.timeout(60 + 2 * self.longest_s):
            await asyncio.gather(*self._tasks)

    async def stop(self) -> None:
        """End all clients at once."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _go_on_asking(self, ask: Ask) -> None:
        while not self._is_over:
            self.heard.asked += 1
            plan = self._plan(f"q{self.heard.asked}")
            try:
                text = await ask(Asked(plan.prompt(), self._caller.client, self._sdk, _POLL_S))
            except Exception as error:  # noqa: BLE001  whatever it is, its wire had an error
                text = f"{type(error).__name__}: {error}"
            if text == plan.text():
                self.heard.whole[ask.__name__] += 1
            else:
                shown = text if len(text) < _SHOWN_CHARACTERS else f"...{text[-_SHOWN_CHARACTERS:]}"
                self.heard.odd.append(f"{ask.__name__} {plan.tag}: {shown!r}")

    def _plan(self, tag: str) -> Plan:
        seconds = self._rng.uniform(*self._seconds)
        return Plan(deltas=round(seconds * _RATE_PER_S), rate_per_s=_RATE_PER_S, tag=tag)
