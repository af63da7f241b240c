"""Finds changes of conversations that no push has shown, for all readers of this process together.

A push can be lost only with its connection, and readers read again when a push connection comes
back. But nobody pushes that a conversation has expired, or that somebody removed its keys. So the
state of each conversation is checked once in a heartbeat, many of them in one call. A reader that
waits so costs next to nothing: with a read of its own in each heartbeat, 500 waiting readers of one
tenant were an eighth of all that the API computed in `make isolation RUN=flood`.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from itertools import groupby, islice

from tickertape.broker.conversation_states import ConversationState, ConversationStates
from tickertape.broker.task_faults import TaskFaults
from tickertape.broker.watchers import ConversationPlace

# The checks of a period are spread over so many calls, or more.
_CALLS_PER_PERIOD = 16
# Redis does nothing else during a call, some 5 us for each conversation.
_PER_CALL = 50

OnState = Callable[[ConversationState], None]


class ConversationChecks:
    """Checks each conversation that has readers once in `period_s`; `run` has to be running."""

    def __init__(self, states: ConversationStates, faults: TaskFaults, period_s: float) -> None:
        self._states = states
        self._faults = faults
        self._tick_s = period_s / _CALLS_PER_PERIOD
        self._readers: dict[ConversationPlace, tuple[OnState, ...]] = {}
        # How many checks are due; below 1 while there are few conversations.
        self._due = 0.0

    @contextlib.contextmanager
    def join(self, place: ConversationPlace, on_state: OnState) -> Iterator[None]:
        """Call `on_state` with each state of a conversation that is read within the block."""
        self._readers[place] = (*self._readers.get(place, ()), on_state)
        try:
            yield
        finally:
            left = list(self._readers[place])
            left.remove(on_state)
            if left:
                self._readers[place] = tuple(left)
            else:
                del self._readers[place]

    async def run(self) -> None:
        """Check until cancelled. Without Redis, the next check of a conversation finds more."""
        while True:
            await asyncio.sleep(self._tick_s)
            for partition, keys in self._next():
                # A partition whose server is away must not keep the others from being checked.
                with self._faults.contain("conversation check"):
                    await self._check(partition, keys)

    def _next(self) -> list[tuple[int, list[str]]]:
        """The conversations that are due, for each partition, those checked longest ago first."""
        self._due = min(self._due + len(self._readers) / _CALLS_PER_PERIOD, len(self._readers))
        places = list(islice(self._readers, int(self._due)))
        self._due -= len(places)
        for place in places:
            self._readers[place] = self._readers.pop(place)
        parts = []
        for partition, here in groupby(sorted(places), key=lambda place: place[0]):
            keys = [key for _, key in here]
            parts += [
                (partition, keys[at : at + _PER_CALL]) for at in range(0, len(keys), _PER_CALL)
            ]
        return parts

    async def _check(self, partition: int, keys: list[str]) -> None:
        states = await self._states.read(partition, keys)
        for key, state in zip(keys, states, strict=True):
            for on_state in self._readers.get((partition, key), ()):
                on_state(state)
