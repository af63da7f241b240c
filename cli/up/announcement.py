"""Prints that `up` is ready, once the API and a worker are, and how to use it."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.request import getproxies

from tickertape.cli.up.child import ChildProcess
from tickertape.cli.up.console import how_to_use, print_line

_POLL_S = 0.05
_SLOW_AFTER_S = 20.0


@dataclass(frozen=True)
class Announcement:
    """`started_s` is when the command started, on the clock of time.monotonic."""

    url: str
    workers: Sequence[ChildProcess]
    has_keys: bool
    started_s: float

    async def make(self) -> None:
        """Wait until the API and a worker are ready, then print. Waits without a time limit."""
        # The import takes 0.3 s. Here, the child processes start in that time.
        from tickertape.client import AsyncClient

        is_slow = False
        async with AsyncClient(self.url, "") as client:
            while not (any(w.is_ready for w in self.workers) and await client.is_ready()):
                if self._age_s() > _SLOW_AFTER_S and not is_slow:
                    is_slow = True
                    print_line("The start is slow. The log files may show the cause.")
                await asyncio.sleep(_POLL_S)
        has_proxy = bool(getproxies())
        print_line(how_to_use(self.url, has_keys=self.has_keys, has_proxy=has_proxy))
        print_line(f"Ready after {self._age_s():.1f} s. Ctrl+C stops everything.")

    def _age_s(self) -> float:
        return time.monotonic() - self.started_s
