"""`tickertape watch`: follow a request that someone submitted. Leaving it changes nothing."""

import asyncio

from tickertape.cli.chat.answer import type_answer
from tickertape.cli.chat.client_settings import make_client
from tickertape.cli.chat.follow import Follower
from tickertape.cli.chat.terminal import Terminal


def run(request_id: str, *, cursor: str | None, holds_answer: bool) -> int:
    """Type the answer from after `cursor`; returns the exit code. Raises CommandFailed."""
    terminal = Terminal.of_process(holds_answer=holds_answer)
    return asyncio.run(_run(request_id, cursor, terminal))


async def _run(request_id: str, cursor: str | None, terminal: Terminal) -> int:
    async with make_client() as client:
        follower = Follower(client, request_id, cursor, tell=terminal.note)
        return await type_answer(follower, terminal, request_id)
