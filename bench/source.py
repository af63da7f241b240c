"""The source: runs native/publish.c, which writes events into logs at a rate."""

import asyncio
import os
import subprocess
from collections.abc import Sequence

import msgspec

from bench.box import Box
from bench.compiled import compiled


class SourceFailed(RuntimeError):
    """A server rejected an event, or did not accept events at the rate."""


class Published(msgspec.Struct, frozen=True):
    """The work of the source. `late_ms` is its largest delay behind its own schedule."""

    sent: int
    answered: int
    failed: int
    seconds: float
    late_ms: float
    cpu_s: float


async def publish(
    box: Box,
    mode: str,
    port: int,
    targets: Sequence[str],
    *,
    rate: float,
    events: int,
    group: int = 1,
    more: Sequence[str] = (),
    password: str | None = None,
) -> Published:
    """Write `events` events into each target at `rate` per second, `group` of them in one call.

    Returns when the last event is acknowledged. Raises SourceFailed.
    """
    argv = [mode, port, rate, events, group, *more]
    process = await asyncio.create_subprocess_exec(
        compiled("publish", box.directory),
        *map(str, argv),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **({"REDIS_PASSWORD": password} if password else {})},
    )
    try:
        output, errors = await process.communicate("".join(f"{t}\n" for t in targets).encode())
    except BaseException:
        process.kill()
        await process.wait()
        raise
    if process.returncode != 0:
        raise SourceFailed(f"publish {mode}: {errors.decode().strip() or process.returncode}")
    return msgspec.json.decode(output, type=Published)
