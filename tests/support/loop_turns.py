"""The longest turn of the event loop, in the time of the processor.

Other programs make a turn longer by the clock, and not by the time that this process computes.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

from tickertape.runtime.garbage import tune_garbage_collector


class Turns:
    """`longest_ms` is what this process computed at most between two turns of its loop."""

    def __init__(self) -> None:
        self.longest_ms = 0.0

    def forget(self) -> None:
        """Begin a new measurement."""
        self.longest_ms = 0.0

    async def run(self) -> None:
        """Measure until cancelled."""
        while True:
            began_s = time.process_time()
            await asyncio.sleep(0.001)
            self.longest_ms = max(self.longest_ms, (time.process_time() - began_s) * 1000)


@contextlib.asynccontextmanager
async def watched_turns() -> AsyncIterator[Turns]:
    """Measure the turns of this loop for the length of the block.

    The garbage collector is as in a process that serves. Otherwise a full collection in a process
    that holds thousands of tests is the longest turn.
    """
    tune_garbage_collector()
    turns = Turns()
    watching = asyncio.create_task(turns.run(), name="turns")
    try:
        yield turns
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
