"""Keeps what `up` started running, and ends it in order. Knows nothing of what the processes do."""

import asyncio
import contextlib
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import FrameType
from typing import Any, TypeAlias

from tickertape.cli.exits import CommandFailed, Exit
from tickertape.cli.up.child import ChildProcess
from tickertape.cli.up.log_tail import shown
from tickertape.cli.up.service import Service
from tickertape.cli.up.spawn import describe_exit
from tickertape.runtime.wait import wait_at_most

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_TICK_S = 0.1
# Above the time a worker gives its answers to finish, and then takes to hand back the rest.
_DRAIN_S = 20.0
_LAST_GRACE_S = 1.0

Say: TypeAlias = Callable[[str], None]


class Supervisor:
    """Runs `children` with the environment that `services` and `base` give.

    The services are started by the caller, who also ends them after `run`. `children` end in
    groups, one group after the other. What has to be said goes to `say`.
    """

    def __init__(
        self,
        services: Sequence[Service[Any]],
        children: Sequence[Sequence[ChildProcess]],
        environment_of: Callable[[ChildProcess, Mapping[str, str]], Mapping[str, str]],
        say: Say,
    ) -> None:
        self._services = services
        self._groups = children
        self._environment_of = environment_of
        self._say = say
        self._stopping = asyncio.Event()
        self._killing = asyncio.Event()

    async def run(self) -> int:
        """Until a signal; returns the exit code. Raises CommandFailed if something cannot start."""
        with _stop_signals_call(self._on_signal):
            try:
                for child in self._children():
                    child.start(self._environment(child))
                while not self._stopping.is_set():
                    self._look_after_all()
                    await wait_at_most(self._stopping, _TICK_S)
            finally:
                await self._stop_children()
        return Exit.INTERRUPTED if self._killing.is_set() else Exit.OK

    def _children(self) -> Iterator[ChildProcess]:
        # The last to end is the first to start.
        for group in reversed(self._groups):
            yield from group

    def _environment(self, child: ChildProcess) -> Mapping[str, str]:
        known: dict[str, str] = {}
        for service in self._services:
            known.update(service.environment)
        return self._environment_of(child, known)

    def _on_signal(self) -> None:
        if self._stopping.is_set():
            self._killing.set()
        else:
            self._say("Stopping. Ctrl+C again to end at once.")
            self._stopping.set()

    def _look_after_all(self) -> None:
        for service in self._services:
            self._look_after_service(service)
        for child in self._children():
            self._look_after(child)
            self._pass_on(child.name, child.new_lines())

    def _look_after_service(self, service: Service[Any]) -> None:
        if service.due_s is not None:
            if time.monotonic() >= service.due_s:
                self._start_again(service)
        elif (code := service.exit_code()) is not None:
            pause_s = service.plan_restart()
            self._say(f"{service.name} ended ({describe_exit(code)}); again in {pause_s:.1f} s")

    def _start_again(self, service: Service[Any]) -> None:
        before = service.environment
        service.start()
        self._say(f"{service.name} runs again")
        if service.environment == before:
            return
        for child in self._children():
            environment = self._environment(child)
            if environment != child.environment and child.is_running:
                child.replace(environment)

    def _look_after(self, child: ChildProcess) -> None:
        if child.due_s is not None:
            if time.monotonic() >= child.due_s:
                child.start(self._environment(child))
            return
        code = child.exit_code()
        if code is None:
            return
        if not child.is_replaced and child.cannot_start(code):
            child.tail.rest()
            told = "".join(f"\n  {shown(line) or line}" for line in child.tail.recent)
            raise CommandFailed(
                f"{child.name} cannot start ({describe_exit(code)}), log: {child.log_path}{told}",
                code,
            )
        self._pass_on(child.name, child.tail.rest())
        was_replaced = child.is_replaced
        pause_s = child.plan_restart()
        if not was_replaced:
            self._say(f"{child.name} ended ({describe_exit(code)}); again in {pause_s:.1f} s")

    def _pass_on(self, name: str, lines: Sequence[str]) -> None:
        for line in lines:
            if (text := shown(line)) is not None:
                self._say(f"{name} | {text}")

    async def _stop_children(self) -> None:
        for group in self._groups:
            for child in group:
                child.terminate()
            await self._until_ended(group)
            for child in group:
                if child.is_running:
                    self._say(f"{child.name} did not end in time and was killed")
                child.kill()
                self._pass_on(child.name, child.tail.rest())

    async def _until_ended(self, group: Sequence[ChildProcess]) -> None:
        deadline_s = time.monotonic() + _DRAIN_S
        was_told_twice = False
        while any(child.is_running for child in group) and time.monotonic() < deadline_s:
            if self._killing.is_set() and not was_told_twice:
                was_told_twice = True
                deadline_s = time.monotonic() + _LAST_GRACE_S
                # To a worker the second signal means: hand back what runs, now. Killed, it could
                # not, and its requests would wait for their leases to run out.
                for child in group:
                    child.terminate()
            await asyncio.sleep(_TICK_S / 2)


@contextlib.contextmanager
def _stop_signals_call(callback: Callable[[], None]) -> Iterator[None]:
    """Until the end of the block, stop signals call `callback` in the running loop."""
    loop = asyncio.get_running_loop()

    def on_signal(_signal: int, _frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(callback)

    before = {number: signal.signal(number, on_signal) for number in STOP_SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
