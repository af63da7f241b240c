"""Tasks that run for the length of a block."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from typing import Any


@contextlib.asynccontextmanager
async def running(call: Coroutine[Any, Any, None]) -> AsyncIterator[asyncio.Task[None]]:
    """Run a call that never ends for the length of the block; its error is raised at the end."""
    task = asyncio.create_task(call)
    try:
        yield task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
