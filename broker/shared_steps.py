"""A step whose outcome serves everybody who asked for it before it began."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Outcome = TypeVar("Outcome")


@dataclass
class _Step(Generic[Outcome]):
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    callers: int = 0
    # Of all callers so far, the number of those who asked before the last step began.
    served: int = 0
    asked: int = 0
    outcome: Outcome | None = None


class SharedSteps(Generic[Outcome]):
    """Steps by key. Of each key, one step runs at a time, however many callers want it.

    A caller never gets the outcome of a step that began before the call, so nothing that the caller
    knows can be newer. An error is raised to one caller, and the next one tries again.
    """

    def __init__(self) -> None:
        self._steps: dict[Hashable, _Step[Outcome]] = {}

    async def run(self, key: Hashable, step: Callable[[], Awaitable[Outcome]]) -> Outcome:
        """The outcome of a step that began after this call. Raises what the step raises."""
        shared = self._steps.setdefault(key, _Step())
        shared.callers += 1
        shared.asked += 1
        number = shared.asked
        try:
            async with shared.turn:
                if shared.served < number or shared.outcome is None:
                    shared.outcome, begun = None, shared.asked
                    shared.outcome = await step()
                    shared.served = begun
                return shared.outcome
        finally:
            shared.callers -= 1
            if not shared.callers:
                del self._steps[key]
