"""Waiting for an event with a limit, as loops do that have to look again without a wake-up."""

import asyncio


async def wait_at_most(event: asyncio.Event, limit_s: float) -> bool:
    """Wait until the event is set, at most `limit_s` seconds; returns whether it was set in time.

    A cancellation of the caller passes through.
    """
    if event.is_set():
        return True
    try:
        async with asyncio.timeout(limit_s):
            return await event.wait()
    except TimeoutError:
        return False
