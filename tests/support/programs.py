"""Tickertape's programs as separate processes, each with its environment and its log.

`tests/chaos/members.py` starts the same programs by forking, because a run of chaos starts dozens
of them in a minute; their logs are read by the same `ProgramLog`.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from tests.support.wait import wait_until, wait_until_sync
from tickertape.cli.serve import module_argv, module_environment
from tickertape.cli.up.spawn import spawn, stop
from tickertape.runtime.environment import variable_names

# A start takes 2 s, and on a machine with six times as much to do as it can half a minute.
START_S = 60
# A stopping worker waits 10 s for its answers to finish.
_END_S = 15


def bare_environment() -> dict[str, str]:
    """The environment of this process without Tickertape's settings.

    A program that may write no byte code would compile all that it imports, for 1.5 s.
    """
    names = {*variable_names(), "TICKERTAPE_API_KEY", "PYTHONDONTWRITEBYTECODE"}
    return {name: value for name, value in os.environ.items() if name not in names}


def environment(**settings: str) -> dict[str, str]:
    """The environment of a program that runs from the checkout with these settings only."""
    return {**bare_environment(), **module_environment(), **settings}


class ProgramLog:
    """What a program wrote to its log."""

    def __init__(self, name: str, directory: Path) -> None:
        self.name = name
        self.log_path = directory / f"{name}.log"

    @property
    def printed(self) -> str:
        """The log so far; empty before the program was started."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def lines(self) -> list[str]:
        """The complete lines of the log so far."""
        return self.printed.split("\n")[:-1]

    def records(self, event: str | None = None, **fields: object) -> list[dict[str, Any]]:
        """The records of the log with this event and these fields.

        A line that is not a JSON record is returned as a record without a level.
        """
        return [
            record
            for record in map(_record, self.lines())
            if event in {None, record.get("event")} and fields.items() <= record.items()
        ]

    def complaints(self) -> list[str]:
        """Errors, and lines that are not records, such as those of a traceback."""
        return [
            f"{self.name}: {record}"
            for record in self.records()
            if record.get("level") not in {"info", "warning"} and not self.is_harmless(record)
        ]

    def is_harmless(self, record: dict[str, Any]) -> bool:
        """Whether a record without the level of an info or a warning may be in the log."""
        return False

    async def logged(self, event: str, **fields: object) -> dict[str, Any]:
        """Wait for a record with this event and these fields, and return the first one."""
        records = await wait_until(
            lambda: self.records(event, **fields),
            timeout_s=START_S,
            description=f"{self.name} to log {event!r}",
        )
        return records[0]

    def logged_sync(self, event: str) -> dict[str, Any]:
        """`logged` without an event loop."""
        return wait_until_sync(
            lambda: self.records(event),
            timeout_s=START_S,
            description=f"{self.name} to log {event!r}",
        )[0]


class Program(ProgramLog):
    """A running process. It ends with this process, however this process ends."""

    def __init__(
        self,
        name: str,
        argv: Sequence[str | Path],
        directory: Path,
        env: Mapping[str, str],
        *,
        pass_fds: Sequence[int] = (),
    ) -> None:
        super().__init__(name, directory)
        with self.log_path.open("ab") as log:
            self.process = spawn(
                argv, cwd=directory, env=env, stdout=log, stderr=log, pass_fds=pass_fds
            )

    def is_harmless(self, record: dict[str, Any]) -> bool:
        """The upstream prints its address."""
        return str(record.get("event")).startswith("http://")

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    async def kill(self) -> None:
        """SIGKILL, and wait for the end."""
        self.process.kill()
        await self.ended()

    async def ended(self) -> int:
        """Wait for the end and return the exit code."""
        async with asyncio.timeout(_END_S):
            # A thread notices the end at once; polling notices it only at the next poll.
            return await asyncio.to_thread(self.process.wait)

    def stop(self) -> int:
        """SIGTERM if it still runs; prints its log, which pytest shows for a failed test."""
        code = stop(self.process, grace_s=_END_S)
        sys.stdout.write(f"--- {self.name}\n{self.printed}")
        return code


def command(*arguments: str) -> list[str]:
    """`tickertape` with these arguments."""
    return module_argv("tickertape.cli.main", *arguments)


def _record(line: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(line, type=dict[str, Any])
    except msgspec.DecodeError:
        return {"event": line}
