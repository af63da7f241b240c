"""Our programs as processes of their own, with an environment and a log that are theirs alone."""

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
from tickertape.runtime.settings import variable_names

_START_S = 20
# A worker lets its answers finish for 10 s when it is told to end.
_END_S = 15


def environment(**settings: str) -> dict[str, str]:
    """The environment of a program that knows these settings and none of the machine's."""
    ours = {*variable_names(), "TICKERTAPE_API_KEY"}
    inherited = {name: value for name, value in os.environ.items() if name not in ours}
    return {**inherited, **module_environment(), **settings}


class Program:
    """A running process; it ends with this one, however this one ends."""

    def __init__(
        self, name: str, argv: Sequence[str], directory: Path, settings: Mapping[str, str]
    ) -> None:
        self.name = name
        self.log_path = directory / f"{name}.log"
        with self.log_path.open("ab") as log:
            self.process = spawn(
                argv, cwd=directory, env=environment(**settings), stdout=log, stderr=log
            )

    def lines(self) -> list[str]:
        """What it has said so far, in whole lines."""
        return self.log_path.read_text(errors="replace").split("\n")[:-1]

    def records(self, event: str, **fields: object) -> list[dict[str, Any]]:
        """The records of its log that say this."""
        records = [_record(line) for line in self.lines()]
        return [
            record
            for record in records
            if record.get("event") == event and fields.items() <= record.items()
        ]

    def complaints(self) -> list[str]:
        """What no program should say: errors, and lines that are no records, as of a traceback."""
        return [
            line
            for line in self.lines()
            if (record := _record(line)).get("level") not in {"info", "warning"}
            and not str(record.get("event")).startswith("http://")
        ]

    async def logged(self, event: str, **fields: object) -> dict[str, Any]:
        """The first record that says this, once there is one."""
        records = await wait_until(
            lambda: self.records(event, **fields),
            timeout_s=_START_S,
            description=f"{self.name} to log {event!r}",
        )
        return records[0]

    def logged_sync(self, event: str) -> dict[str, Any]:
        """`logged` without an event loop."""
        return wait_until_sync(
            lambda: self.records(event),
            timeout_s=_START_S,
            description=f"{self.name} to log {event!r}",
        )[0]

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    async def kill(self) -> None:
        """SIGKILL, and wait until it is dead."""
        self.process.kill()
        await self.ended()

    async def ended(self) -> int:
        """Its exit code, once it has ended."""
        async with asyncio.timeout(_END_S):
            # In a thread, which knows at once; whoever polls knows only at the next look.
            return await asyncio.to_thread(self.process.wait)

    def stop(self) -> None:
        """End it in order if it runs, and show its log if a test has failed meanwhile."""
        stop(self.process, grace_s=_END_S)
        sys.stdout.write(f"--- {self.name}\n{self.log_path.read_text(errors='replace')}")


def command(*arguments: str) -> list[str]:
    """`tickertape` with these arguments."""
    return module_argv("tickertape.cli.main", *arguments)


def _record(line: str) -> dict[str, Any]:
    """A line of a JSON log; any other line is an event of no level."""
    try:
        return msgspec.json.decode(line, type=dict[str, Any])
    except msgspec.DecodeError:
        return {"event": line}
