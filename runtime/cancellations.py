"""Keeps a library from swallowing the cancellation of a task."""

import asyncio
import contextlib
from collections.abc import Iterator


@contextlib.contextmanager
def cancellations_kept() -> Iterator[None]:
    """Raise CancelledError at the end of the block if the task was cancelled within the block.

    redis-py can swallow a cancellation that arrives while it connects, and the task would continue
    as if nobody had cancelled it. Outside of a task, this does nothing.
    """
    task = asyncio.current_task()
    cancels_before = task.cancelling() if task else 0
    try:
        yield
    finally:
        if task is not None and task.cancelling() > cancels_before:
            raise asyncio.CancelledError
