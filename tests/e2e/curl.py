"""curl as an independent reader of event streams."""

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest

from tests.support.sse import Event, SseParser

_CURL_LIMIT_S = 60


class Curl:
    """`curl -N` as a reader. It writes every byte that it receives into a file."""

    def __init__(self, process: asyncio.subprocess.Process, path: Path) -> None:
        self._process = process
        self._path = path

    @property
    def sent(self) -> bytes:
        """The bytes received so far."""
        return self._path.read_bytes() if self._path.exists() else b""

    def events(self) -> list[Event]:
        """The events received so far, without an incomplete frame at the end."""
        return SseParser().feed(self.sent)

    async def ended(self) -> int:
        """Wait for its exit code, which is 0 only if the server ended the stream in order."""
        return await self._process.wait()


@contextlib.asynccontextmanager
async def curl(
    url: str,
    path: Path,
    headers: Mapping[str, str] | None = None,
    *,
    authority: Path | None = None,
) -> AsyncIterator[Curl]:
    """Read `url` into `path` until it ends or the block does.

    `authority` is the certificate that the server's one has to be signed with.
    """
    program = shutil.which("curl")
    if program is None:
        pytest.skip("curl is not installed")  # only an independent client can check us
    options = ["-sN", "--fail", "--max-time", str(_CURL_LIMIT_S), "--output", str(path)]
    for name, value in (headers or {}).items():
        options += ["--header", f"{name}: {value}"]
    if authority is not None:
        options += ["--cacert", str(authority)]
    process = await asyncio.create_subprocess_exec(program, *options, url)
    try:
        yield Curl(process, path)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
