"""Node programs with their packages, as a user would install them."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Self

import pytest

from tests.support.packages import installed_once, run_installer

_LOCKS = Path(__file__).parent / "npm"


def installed(folder: Path, name: str) -> Path:
    """`folder` with the packages that tests/support/npm/`name` locks: ai5, ai6 or ai7 (+ openai).

    Skips the test where node or npm is missing.
    """
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    locks = _LOCKS / name

    def install(cache: Path) -> None:
        for file in ("package.json", "package-lock.json"):
            shutil.copy(locks / file, cache)
        run_installer("npm", "ci", "--no-audit", "--no-fund", "--loglevel=error", cwd=cache)

    packages = installed_once(name, locks / "package-lock.json", install)
    shutil.copy(locks / "package.json", folder)
    (folder / "node_modules").symlink_to(packages / "node_modules")
    return folder


class NodeProgram:
    """A script that runs in a folder of installed packages; a context manager that ends it."""

    def __init__(self, folder: Path, script: Path, environment: Mapping[str, str]) -> None:
        self._folder = folder
        self._script = script
        self._environment = environment
        self._process: asyncio.subprocess.Process

    async def __aenter__(self) -> Self:
        # Node looks for packages beside the script, so the script is copied there.
        copied = shutil.copy(self._script, self._folder)
        self._process = await asyncio.create_subprocess_exec(
            "node",
            copied,
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

    async def lines(self) -> AsyncIterator[str]:
        """The printed lines; fails if the program ends with an error."""
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        async for line in self._process.stdout:
            yield line.decode().rstrip("\n")
        errors = await self._process.stderr.read()
        assert await self._process.wait() == 0, errors.decode()
