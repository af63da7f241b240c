"""Prints that `up` is ready and how to use it, and what prevents that it is.

It is ready when the API, a worker and the upstream answer. The upstream is watched until the end,
because its operator can mend it, or it can fail, at any time.
"""

import asyncio
import contextlib
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.request import getproxies

from tickertape.cli.program import program_name
from tickertape.cli.up.child import ChildProcess
from tickertape.cli.up.console import Usage, how_to_use, print_line
from tickertape.cli.up.upstream_state import (
    LISTED,
    UpstreamState,
    upstream_state,
    with_functions,
)
from tickertape.runtime.settings import Settings

if TYPE_CHECKING:
    from tickertape.client import AsyncClient

_POLL_S = 0.05
_POLL_READY_S = 0.5
_SLOW_AFTER_S = 20.0


@dataclass(frozen=True)
class Announcement:
    """`started_s` is when the command started, on the clock of time.monotonic."""

    url: str
    workers: Sequence[ChildProcess]
    settings: Settings
    is_local: bool
    started_s: float
    has_upstream: bool = True
    """Whether there is a model beside the functions of the workers."""

    async def run(self) -> None:
        """Print the state of the start, and later of the upstream, until cancelled."""
        state = await self._until_ready()
        self._print_ready(state)
        while True:
            problem = state.problem
            state = self._upstream() or state
            if state.problem and state.problem != problem:
                print_line(f"No answers: {state.problem} Still trying.")
            elif problem and not state.problem:
                print_line("The upstream answers again.")
            await asyncio.sleep(_POLL_READY_S)

    async def _until_ready(self) -> UpstreamState:
        # The import takes 0.3 s. Here, the child processes start in that time.
        from tickertape.client import AsyncClient

        problem, is_slow = "", False
        async with AsyncClient(self.url, "") as client:
            while True:
                state = self._upstream()
                if state is not None and state.problem != problem:
                    problem = state.problem
                    if problem:
                        print_line(f"Not ready: {problem} Still trying.")
                can_answer = state is not None and not state.problem
                is_working = can_answer and any(worker.is_ready for worker in self.workers)
                if state is not None and is_working and await client.is_ready():
                    await self._until_functions_are_known(client)
                    return state
                if self._age_s() > _SLOW_AFTER_S and not is_slow and not problem:
                    is_slow = True
                    print_line("The start is slow. The log files may show the cause.")
                await asyncio.sleep(_POLL_S)

    async def _until_functions_are_known(self, client: "AsyncClient") -> None:
        """The API looks for functions every two seconds, and the printed commands name one."""
        from tickertape.client import TickertapeError

        # A closed API lists nothing without a key.
        with contextlib.suppress(TickertapeError):
            while True:
                if set(self._functions()) <= set(await client.models()):
                    return
                await asyncio.sleep(_POLL_S)

    def _functions(self) -> tuple[str, ...]:
        """In the order of the module. The workers run the same one."""
        return next((each.functions for each in self.workers if each.functions), ())

    def _upstream(self) -> UpstreamState | None:
        """The state of the upstream; None before a worker has reported it."""
        records = [worker.upstream_record for worker in self.workers if worker.upstream_record]
        # If the workers disagree, one that can answer is enough.
        records.sort(key=lambda record: record.get("event") != LISTED)
        if self.has_upstream and not records:
            return None
        state = UpstreamState()
        if self.has_upstream:
            state = upstream_state(records[0], self.settings, is_local=self.is_local)
        default = None if self.is_local else self.settings.openai_model
        return with_functions(state, self._functions(), default)

    def _print_ready(self, state: UpstreamState) -> None:
        if state.advice:
            print_line(f"Note     {state.advice}")
        if state.can_ask:
            print_line(how_to_use(self._usage(state.example_model)))
        else:
            print_line(f"Page     {self.url}/")
        print_line(f"Ready after {self._age_s():.1f} s. Ctrl+C stops everything.")

    def _usage(self, model: str | None) -> Usage:
        return Usage(
            url=self.url,
            program=program_name(),
            needs_key=self.settings.is_closed,
            has_key=bool(os.environ.get("TICKERTAPE_API_KEY")),
            has_proxy=bool(getproxies()),
            has_url=self.settings.url == self.url,
            model=model,
        )

    def _age_s(self) -> float:
        return time.monotonic() - self.started_s
