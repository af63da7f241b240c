"""Restarts the processes of `up` when they end, and stops them in order at a signal."""

import asyncio
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from tickertape.cli.exits import CommandFailed, Exit
from tickertape.cli.signals import STOP_SIGNALS, Handler, handling
from tickertape.cli.up.child import ChildProcess
from tickertape.cli.up.log_tail import shown
from tickertape.cli.up.service import Service
from tickertape.cli.up.spawn import describe_exit
from tickertape.runtime.wait import wait_at_most

PrintLine: TypeAlias = Callable[[str], None]


@dataclass(frozen=True)
class SupervisorTiming:
    """The interval of the checks and the time for the stop. Tests pass shorter ones."""

    tick_s: float = 0.1
    # The time that each group of children takes to drain, one group after the other.
    drain_s: float = 5.0
    # What a child may need after it to return its requests to the queue. Then it is killed.
    release_s: float = 15.0
    last_grace_s: float = 1.0


_TIMING = SupervisorTiming()


class Supervisor:
    """Runs `children` in the environment that `environment_of` returns for each.

    The caller starts the `services` before `run` and stops them after it; `run` restarts those that
    end. `children` are stopped group by group. `print_line` receives the messages for the user.
    """

    def __init__(
        self,
        services: Sequence[Service[Any]],
        children: Sequence[Sequence[ChildProcess]],
        environment_of: Callable[[ChildProcess, Mapping[str, str]], Mapping[str, str]],
        print_line: PrintLine,
        timing: SupervisorTiming = _TIMING,
    ) -> None:
        self._timing = timing
        self._services = services
        self._groups = children
        self._environment_of = environment_of
        self._print = print_line
        self._stopping = asyncio.Event()
        self._killing = asyncio.Event()

    async def run(self) -> int:
        """Run until a stop signal, then stop all children; returns the exit code.

        The children are also stopped if this call is cancelled. Raises CommandFailed if a child
        cannot start.
        """
        with handling(STOP_SIGNALS, self._on_any_signal()):
            try:
                for child in self._children():
                    child.start(self._environment(child))
                while not self._stopping.is_set():
                    self._check_all()
                    await wait_at_most(self._stopping, self._timing.tick_s)
            finally:
                await self._stop_children()
        return Exit.INTERRUPTED if self._killing.is_set() else Exit.OK

    def _children(self) -> Iterator[ChildProcess]:
        # The group that stops last starts first.
        for group in reversed(self._groups):
            yield from group

    def _environment(self, child: ChildProcess) -> Mapping[str, str]:
        variables: dict[str, str] = {}
        for service in self._services:
            variables.update(service.environment)
        return self._environment_of(child, variables)

    def _on_any_signal(self) -> Handler:
        loop = asyncio.get_running_loop()
        return lambda number, _frame: loop.call_soon_threadsafe(self._on_signal, number)

    def _on_signal(self, number: int) -> None:
        if not self._stopping.is_set():
            limit_s = self._timing.drain_s * len(self._groups)
            self._print(
                f"Stopping: answers have up to {limit_s:g} s to end."
                " Press Ctrl+C again to stop at once."
            )
            self._stopping.set()
        elif number != signal.SIGHUP:
            # A terminal that closes may send SIGHUP twice, by itself and through its shell.
            self._killing.set()

    def _check_all(self) -> None:
        for service in self._services:
            self._check_service(service)
        for child in self._children():
            self._check_child(child)
            self._print_log(child.name, child.new_lines())

    def _check_service(self, service: Service[Any]) -> None:
        if service.restart.is_planned:
            if service.restart.is_due:
                self._restart(service)
        elif (code := service.exit_code()) is not None:
            self._print_end(service.name, code, service.restart.plan())

    def _print_end(self, name: str, code: int, pause_s: float) -> None:
        self._print(f"{name} ended ({describe_exit(code)}); starting it again in {pause_s:.1f} s")

    def _restart(self, service: Service[Any]) -> None:
        before = service.environment
        service.start()
        self._print(f"{service.name} runs again")
        if service.environment == before:
            return
        for child in self._children():
            environment = self._environment(child)
            if environment != child.environment and child.is_running:
                child.replace(environment)

    def _check_child(self, child: ChildProcess) -> None:
        if child.restart.is_planned:
            if child.restart.is_due:
                child.start(self._environment(child))
            return
        code = child.exit_code()
        if code is None:
            return
        if not child.is_replaced and child.cannot_start(code):
            child.tail.rest()
            recent = "".join(f"\n  {shown(line) or line}" for line in child.tail.recent)
            raise CommandFailed(
                f"{child.name} cannot start ({describe_exit(code)}), log: {child.log_path}{recent}",
                code,
            )
        self._print_log(child.name, child.tail.rest())
        pause_s = child.plan_restart()
        if not child.is_replaced:
            self._print_end(child.name, code, pause_s)

    def _print_log(self, name: str, lines: Sequence[str]) -> None:
        for line in lines:
            if (text := shown(line)) is not None:
                self._print(f"{name} | {text}")

    async def _stop_children(self) -> None:
        for group in self._groups:
            for child in group:
                child.terminate()
            await self._until_ended(group)
            for child in group:
                if child.is_running:
                    self._print(f"{child.name} did not end in time and was killed")
                child.kill()
                self._print_log(child.name, child.tail.rest())

    async def _until_ended(self, group: Sequence[ChildProcess]) -> None:
        deadline_s = time.monotonic() + self._timing.drain_s + self._timing.release_s
        has_second_signal = False
        while any(child.is_running for child in group) and time.monotonic() < deadline_s:
            if self._killing.is_set() and not has_second_signal:
                has_second_signal = True
                deadline_s = time.monotonic() + self._timing.last_grace_s
                # At a second signal, a worker returns its requests to the queue at once. If it were
                # killed, the requests would wait until their leases run out.
                for child in group:
                    child.terminate()
            await asyncio.sleep(self._timing.tick_s / 2)
