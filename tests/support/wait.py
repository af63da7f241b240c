"""Waiting for a condition instead of for an amount of time."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar, overload

T = TypeVar("T")

_FIRST_POLL_S = 0.001
_SLOWEST_POLL_S = 0.05


@overload
async def wait_until(
    predicate: Callable[[], Awaitable[T]], *, timeout_s: float = ..., description: str
) -> T: ...
@overload
async def wait_until(
    predicate: Callable[[], T], *, timeout_s: float = ..., description: str
) -> T: ...
async def wait_until(
    predicate: Callable[[], T | Awaitable[T]], *, timeout_s: float = 10, description: str
) -> T:
    """Call `predicate` repeatedly until it returns a true value, and return that value.

    Raises AssertionError naming `description` after `timeout_s`, also if one answer takes longer.
    What `predicate` raises is not caught.
    """
    started_s = time.monotonic()
    limit = asyncio.timeout(timeout_s)
    try:
        async with limit:
            for pause_s in _pauses_s():
                answer = predicate()
                result = await answer if inspect.isawaitable(answer) else answer
                if result:
                    return result
                await asyncio.sleep(pause_s)
    except TimeoutError:
        if not limit.expired():
            raise  # the predicate's own
    raise AssertionError(_report(description, started_s))


def wait_until_sync(predicate: Callable[[], T], *, timeout_s: float = 10, description: str) -> T:
    """`wait_until` for tests without an event loop."""
    started_s = time.monotonic()
    for pause_s in _pauses_s():
        if result := predicate():
            return result
        if time.monotonic() - started_s > timeout_s:
            break
        time.sleep(pause_s)
    raise AssertionError(_report(description, started_s))


def _pauses_s() -> Iterator[float]:
    """Short pauses at first, because most conditions hold soon; then longer ones to save CPU."""
    pause_s = _FIRST_POLL_S
    while True:
        yield pause_s
        pause_s = min(pause_s * 1.5, _SLOWEST_POLL_S)


def _report(description: str, started_s: float) -> str:
    return f"waited {time.monotonic() - started_s:.2f} s in vain for: {description}"
