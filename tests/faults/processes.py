"""Tickertape processes that a test kills or pauses."""

import contextlib
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

from tests.chaos.members import Member, preload
from tickertape.runtime.settings import Settings


@contextlib.asynccontextmanager
async def started(
    name: str,
    arguments: list[str],
    settings: Settings,
    directory: Path,
    prepare: "partial[None] | None" = None,
) -> AsyncIterator[Member]:
    """`tickertape <name>` for the length of the block, whatever becomes of it there.

    `prepare` is called in the process before it begins.
    """
    preload()
    environment = {
        "REDIS_URL": settings.redis_url or "",
        "OPENAI_BASE_URL": settings.openai_base_url or "",
        "TICKERTAPE_LEASE_S": str(settings.lease_s),
        "TICKERTAPE_DRAIN_S": str(settings.drain_s),
    }
    member = Member(name, [name, *arguments], directory, environment, prepare)
    member.start()
    try:
        yield member
    finally:
        await member.kill()
