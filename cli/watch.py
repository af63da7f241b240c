"""`tickertape watch`: follow a request that someone submitted. Leaving it changes nothing."""

import asyncio

from cli.answer import type_answer
from cli.client_settings import make_client
from cli.follow import Follower
from cli.terminal import Terminal


def run(request_id: str, *, cursor: str | None, holds_answer: bool) -> int:
    """Type the answer from after `cursor`; returns the exit code. Raises CommandFailed."""
    terminal = Terminal.of_process(holds_answer=holds_answer)
    return asyncio.run(_run(request_id, cursor, terminal))


async def _run(request_id: str, cursor: str | None, terminal: Terminal) -> int:
    async with make_client() as client:
        follower = Follower(client, request_id, cursor, tell=terminal.note)
        return await type_answer(follower, terminal, request_id)
