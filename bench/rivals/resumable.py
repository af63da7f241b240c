"""The npm package resumable-stream behind Node's HTTP server (resumable_app.mjs).

The process that generates an answer keeps it in memory for the readers of both processes.
"""

import contextlib
import shutil
from collections.abc import AsyncIterator

from bench.box import Box
from bench.peers.peer import Absent
from bench.peers.resumable_stream import installed
from bench.rivals.pair import FOLDER, Chat, two


@contextlib.asynccontextmanager
async def resumable(box: Box, redis_url: str, upstream_url: str) -> AsyncIterator[Chat]:
    """Run both processes until the end of the block. Raises Absent."""
    node, packages = shutil.which("node"), installed(box)
    if node is None or packages is None:
        raise Absent("resumable-stream needs node, npm and access to npm packages")
    program = shutil.copy(FOLDER / "resumable_app.mjs", packages)
    variables = {"REDIS_URL": redis_url, "OPENAI_BASE_URL": upstream_url}
    async with two(box, lambda listener: [node, program, str(listener)], variables) as pair:
        yield Chat("resumable-stream", pair)
