"""The obvious FastAPI program (obvious_app.py). Each process generates what it was asked."""

import contextlib
import sys
from collections.abc import AsyncIterator

from bench.box import Box
from bench.rivals.pair import Chat, two, uvicorn


@contextlib.asynccontextmanager
async def obvious(box: Box, redis_url: str, upstream_url: str) -> AsyncIterator[Chat]:
    """Run both processes until the end of the block."""
    variables = {"REDIS_URL": redis_url, "OPENAI_BASE_URL": upstream_url, "OPENAI_API_KEY": "key"}
    async with two(box, uvicorn(sys.executable, "obvious_app:app"), variables) as pair:
        yield Chat("the obvious FastAPI", pair)
