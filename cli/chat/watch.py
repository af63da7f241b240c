"""`tickertape watch`: follows a request of any client. Ctrl+C does not disturb the request."""

import asyncio

from tickertape.cli.chat.answer import print_answer
from tickertape.cli.chat.client_settings import Server, make_client
from tickertape.cli.chat.terminal import Terminal


def run(server: Server, request_id: str, *, cursor: str | None, buffers_answer: bool) -> int:
    """Print the answer after `cursor` and return the exit code. Raises CommandFailed."""
    terminal = Terminal.of_process(buffers_answer=buffers_answer)
    return asyncio.run(_run(server, request_id, cursor, terminal))


async def _run(server: Server, request_id: str, cursor: str | None, terminal: Terminal) -> int:
    async with make_client(server, notify=terminal.note) as client:
        stream = client.follow(request_id, after=cursor)
        return await print_answer(stream, terminal, request_id)
