"""`tickertape watch`: follows a request of any client. Ctrl+C does not disturb the request."""

import asyncio

from tickertape.cli.chat.answer import print_answer
from tickertape.cli.chat.client_settings import make_client
from tickertape.cli.chat.follow import Follower
from tickertape.cli.chat.terminal import Terminal


def run(request_id: str, *, cursor: str | None, buffers_answer: bool) -> int:
    """Print the answer after `cursor` and return the exit code. Raises CommandFailed."""
    terminal = Terminal.of_process(buffers_answer=buffers_answer)
    return asyncio.run(_run(request_id, cursor, terminal))


async def _run(request_id: str, cursor: str | None, terminal: Terminal) -> int:
    async with make_client() as client:
        follower = Follower(client, request_id, cursor, notify=terminal.note)
        return await print_answer(follower, terminal, request_id)
