"""`python -m bench.switched api|worker ...`: `tickertape` whose metrics and logs SIGUSR1 switches.

They are on at first. While they are off, no time is taken, nothing is counted, no line is logged,
and no event loop is watched. One process that is switched gives a smaller difference than two
processes, whose memory lies differently.
"""

import asyncio
import signal
import sys
import time

import structlog

from tickertape.api.fanout.audience import Audience
from tickertape.api.metrics import Metrics
from tickertape.cli.main import main
from tickertape.runtime.histogram import Histogram
from tickertape.runtime.loop_watch import LoopWatch
from tickertape.worker.counters import Counters
from tickertape.worker.request_times import RequestTimes

_COUNTS = {
    Counters: ("claimed", "used"),
    RequestTimes: ("first_output",),
    Histogram: ("observe",),
    Metrics: (
        "count_submit",
        "count_refusal",
        "count_cancel",
        "count_cancelled",
        "count_unrecognized",
    ),
}


class Untimed(Audience):
    """The audience as it is without samples."""

    def wake(self) -> None:
        """Write what is new, now or when the interval is over."""
        if self._timer is not None or not self._slices:
            return
        first, now_s = self._slices[0], self._loop.time()
        if first.next_write_at_s > now_s:
            self._timer = self._loop.call_later(first.next_write_at_s - now_s, self._turn)
        else:
            self._turn()

    def _turn(self) -> None:
        self._timer = None
        first = self._slices[0]
        if len(self._slices) == 1:
            first.write(self._loop.time())
            return
        self._slices.append(self._slices.pop(0))
        began_s = time.monotonic()
        first.write(self._loop.time())
        if self._slices[0].is_behind:
            self._timer = self._loop.call_later(0, self._rest, began_s)


class Switch:
    """Swaps methods of classes with others, and back."""

    def __init__(self) -> None:
        self._is_on = True
        self._changed = asyncio.Event()
        self._watch = LoopWatch.run
        self._others: dict[tuple[type, str], object] = {
            (Audience, "wake"): Untimed.wake,
            (Audience, "_turn"): Untimed._turn,
            **{(owner, name): _nothing for owner, names in _COUNTS.items() for name in names},
        }

    def flip(self) -> None:
        """Switch off what is on, and on what is off."""
        self._is_on = not self._is_on
        # The class depends on the level of the log, which is known by now.
        self._others.setdefault((structlog.get_config()["wrapper_class"], "info"), _nothing)
        for (owner, name), other in self._others.items():
            self._others[owner, name] = getattr(owner, name)
            setattr(owner, name, other)
        self._changed.set()

    async def watch(self, watched: LoopWatch) -> None:
        """Watch the event loop while the switch is on."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, self.flip)
        while True:
            watching = asyncio.create_task(self._watch(watched)) if self._is_on else None
            try:
                await self._changed.wait()
                self._changed.clear()
            finally:
                if watching is not None:
                    watching.cancel()


def _nothing(*_: object, **__: object) -> None:
    """Count and log nothing."""


if __name__ == "__main__":
    switch = Switch()

    async def watch(watched: LoopWatch) -> None:
        """In place of LoopWatch.run."""
        await switch.watch(watched)

    LoopWatch.run = watch  # type: ignore[assignment,method-assign]
    sys.exit(main())
