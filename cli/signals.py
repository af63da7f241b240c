"""Signals in a command: handlers that last for a block, always in the main thread."""

import asyncio
import contextlib
import signal
from collections.abc import Callable, Iterable, Iterator
from types import FrameType
from typing import TypeAlias

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

Handler: TypeAlias = Callable[[int, FrameType | None], object]


@contextlib.contextmanager
def handling(signals: Iterable[signal.Signals], handler: Handler) -> Iterator[None]:
    """Install `handler` for `signals`, and restore the previous handlers after the block.

    SIGHUP stays ignored if it is, because a program under nohup outlives its terminal.
    """
    previous = {
        number: signal.signal(number, handler)
        for number in signals
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN
    }
    try:
        yield
    finally:
        for number, handler_before in previous.items():
            signal.signal(number, handler_before)


def raise_interrupt(_signal: int, _frame: FrameType | None) -> None:
    """A handler that makes every signal raise KeyboardInterrupt, as Ctrl+C does."""
    raise KeyboardInterrupt


def call_in_loop(callback: Callable[[], object]) -> Handler:
    """A handler that calls `callback` in the event loop that is running now."""
    loop = asyncio.get_running_loop()
    return lambda _signal, _frame: loop.call_soon_threadsafe(callback)


def first_interrupt_calls(
    callback: Callable[[], object],
) -> contextlib.AbstractContextManager[None]:
    """The first Ctrl+C calls `callback` in the running loop; the second ends the process."""
    call = call_in_loop(callback)

    def on_first(number: int, frame: FrameType | None) -> None:
        # The default action works even while a write to a full pipe blocks the loop.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        call(number, frame)

    return handling([signal.SIGINT], on_first)
