"""`tickertape chat` and `watch` as processes, in a pipe or on a terminal."""

import asyncio
import contextlib
import os
import pty
from collections.abc import AsyncIterator, Iterator

from tests.support.programs import command, environment


@contextlib.asynccontextmanager
async def running(
    url: str, *arguments: str, terminal: int | None = None
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A command that talks to `url`; its answer goes to `terminal` if given, else to a pipe."""
    process = await asyncio.create_subprocess_exec(
        *command(*arguments),
        env=environment(TICKERTAPE_URL=url),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE if terminal is None else terminal,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        # Also reads what is left in the pipes, without which they would stay open.
        await process.communicate()


class Screen:
    """A terminal: `shown` is all that was written to it, in `pieces` pieces."""

    def __init__(self, master: int, slave: int) -> None:
        self.slave = slave
        self.shown = b""
        self.pieces = 0
        self._master = master

    def read(self) -> None:
        """Take what there is."""
        self.shown += os.read(self._master, 65536)
        self.pieces += 1


@contextlib.contextmanager
def open_screen() -> Iterator[Screen]:
    """A terminal that is read by the running loop for the length of the block."""
    master, slave = pty.openpty()
    loop = asyncio.get_running_loop()
    screen = Screen(master, slave)
    loop.add_reader(master, screen.read)
    try:
        yield screen
    finally:
        loop.remove_reader(master)
        os.close(slave)
        os.close(master)
