"""Handles Ctrl+C while an event loop runs."""

import asyncio
import contextlib
import signal
from collections.abc import Callable, Iterator
from types import FrameType


@contextlib.contextmanager
def first_interrupt_calls(callback: Callable[[], object]) -> Iterator[None]:
    """The first Ctrl+C calls `callback` in the running loop; the second ends the process at once.

    Lasts until the end of the block. Call it in the main thread.
    """
    loop = asyncio.get_running_loop()

    def on_first(_signal: int, _frame: FrameType | None) -> None:
        # The default action works even while a write to a full pipe blocks the loop.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        loop.call_soon_threadsafe(callback)

    before = signal.signal(signal.SIGINT, on_first)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
