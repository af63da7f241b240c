"""Runs a program that uses a client's own package, as its user would, to the program's end."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path


async def run_client_program(
    command: Sequence[str | Path],
    environment: Mapping[str, str],
    *,
    cwd: Path | None = None,
    limit_s: float,
) -> bytes:
    """The standard output of a program that ends well; fails with its error output otherwise.

    Whatever ends the wait, no process is left behind.
    """
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=cwd,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(limit_s):
            output, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()
    assert process.returncode == 0, errors.decode()
    return output
