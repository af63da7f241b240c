"""Readers of event streams that go on while a test does something else."""

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest

from tests.support.sse import TERMINAL_EVENTS, Event, SseParser, follow, text_of
from tests.support.wait import wait_until

_CURL_LIMIT_S = 60


class Reader:
    """What one connection has brought so far."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._task: asyncio.Task[None] | None = None

    async def read(self, url: str, headers: Mapping[str, str] | None) -> None:
        """Take what comes until the server ends the stream."""
        self._task = asyncio.current_task()
        stream = follow(url, headers, until_terminal=False)
        async with contextlib.aclosing(stream) as events:
            async for event in events:
                self.events.append(event)

    @property
    def text(self) -> str:
        return text_of(self.events)

    @property
    def kinds(self) -> list[str]:
        """The kinds of the events but for the deltas."""
        return [event.kind for event in self.events if event.kind != "delta"]

    @property
    def last_cursor(self) -> str:
        """Where another connection would go on."""
        return [event.cursor for event in self.events if event.cursor is not None][-1]

    @property
    def terminals(self) -> list[Event]:
        return [event for event in self.events if event.kind in TERMINAL_EVENTS]

    @property
    def has_ended(self) -> bool:
        """Whether the server has ended the stream; raises what broke it."""
        if self._task is None or not self._task.done():
            return False
        self._task.result()
        return True

    async def says(self, text: str) -> None:
        """Wait until the text begins so."""
        await wait_until(
            lambda: self.text.startswith(text) or self.has_ended,
            description=f"a reader to see {text!r}",
        )
        assert self.text.startswith(text)

    async def completes(self) -> None:
        """Wait for a terminal event, after which some streams stay open."""
        await wait_until(
            lambda: self.terminals or self.has_ended, description="a reader to see the end"
        )

    async def ends(self, timeout_s: float = 20) -> None:
        """Wait until the server has ended the stream."""
        await wait_until(
            lambda: self.has_ended, timeout_s=timeout_s, description="a reader's stream to end"
        )


@contextlib.asynccontextmanager
async def reading(url: str, headers: Mapping[str, str] | None = None) -> AsyncIterator[Reader]:
    """Read `url` until it ends or the block does; leaving cuts the connection."""
    reader = Reader()
    task = asyncio.create_task(reader.read(url, headers), name=f"reading {url}")
    try:
        yield reader
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


class Curl:
    """`curl -N`: a reader that knows nothing of us. What it was sent is in a file, byte by byte."""

    def __init__(self, process: asyncio.subprocess.Process, path: Path) -> None:
        self._process = process
        self._path = path

    @property
    def sent(self) -> bytes:
        """What it was sent so far."""
        return self._path.read_bytes() if self._path.exists() else b""

    def events(self) -> list[Event]:
        """What it was sent so far, as events; half a frame at the end is left out."""
        return SseParser().feed(self.sent)

    async def ended(self) -> int:
        """Its exit code: 0 only if the server ended the stream in order."""
        return await self._process.wait()


@contextlib.asynccontextmanager
async def curl(
    url: str, path: Path, headers: Mapping[str, str] | None = None
) -> AsyncIterator[Curl]:
    """Read `url` into `path` until it ends or the block does."""
    program = shutil.which("curl")
    if program is None:
        pytest.skip("curl is not installed")  # what it is for is to be someone else's client
    options = ["-sN", "--fail", "--max-time", str(_CURL_LIMIT_S), "--output", str(path)]
    for name, value in (headers or {}).items():
        options += ["--header", f"{name}: {value}"]
    process = await asyncio.create_subprocess_exec(program, *options, url)
    try:
        yield Curl(process, path)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
