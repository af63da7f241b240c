"""Node programs with packages of their own, as a user would install them."""

import asyncio
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Self

import pytest

_INSTALL_S = 240


def installed(folder: Path, *packages: str) -> Path:
    """A folder with these packages installed, from the registry that npm is set up for.

    Skips the test where there is no node or no npm.
    """
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    (folder / "package.json").write_text('{"private": true, "type": "module"}')
    command = ["npm", "install", "--no-audit", "--no-fund", "--loglevel=error", *packages]
    done = subprocess.run(
        command, cwd=folder, check=False, capture_output=True, text=True, timeout=_INSTALL_S
    )
    assert done.returncode == 0, done.stderr
    return folder


class NodeProgram:
    """A script that runs in a folder of installed packages; a context manager that ends it."""

    def __init__(self, folder: Path, script: Path, environment: Mapping[str, str]) -> None:
        self._folder = folder
        self._script = script
        self._environment = environment
        self._process: asyncio.subprocess.Process

    async def __aenter__(self) -> Self:
        # Packages are looked for beside the script, so it has to be where they are.
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
        """What it prints, line by line; fails if it ends with an error."""
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        async for line in self._process.stdout:
            yield line.decode().rstrip("\n")
        errors = await self._process.stderr.read()
        assert await self._process.wait() == 0, errors.decode()
