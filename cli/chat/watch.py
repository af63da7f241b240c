"""`tickertape watch`: follows a request or a conversation. Ctrl+C does not disturb either."""

import asyncio
import re

from tickertape.cli.chat.answer import print_answer
from tickertape.cli.chat.client_settings import Server, make_client
from tickertape.cli.chat.server_errors import as_command_failed
from tickertape.cli.chat.terminal import Terminal
from tickertape.cli.chat.turns import print_conversation
from tickertape.cli.exits import CommandFailed
from tickertape.client import AsyncClient, CallRefused

_REQUEST_ID = re.compile(r"r\d{1,4}_\w+")


def run(server: Server, watched_id: str, *, cursor: str | None, buffers_answer: bool) -> int:
    """Print what follows `cursor` and return the exit code. Raises CommandFailed.

    A request is printed to its end, a conversation until Ctrl+C.
    """
    terminal = Terminal.of_process(buffers_answer=buffers_answer)
    return asyncio.run(_run(server, watched_id, cursor, terminal))


async def _run(server: Server, watched_id: str, cursor: str | None, terminal: Terminal) -> int:
    async with make_client(server, notify=terminal.note) as client:
        if _REQUEST_ID.fullmatch(watched_id):
            return await print_answer(client.follow(watched_id, after=cursor), terminal, watched_id)
        await _check_exists(client, watched_id)
        stream = client.follow_conversation(watched_id, after=cursor)
        return await print_conversation(stream, terminal, watched_id)


async def _check_exists(client: AsyncClient, conversation_id: str) -> None:
    # A conversation that does not exist would be waited for, also one whose id is misspelt.
    with as_command_failed(client):
        try:
            await client.conversation(conversation_id)
        except CallRefused as refused:
            if refused.status != 404:
                raise
            raise CommandFailed(
                f"no request and no conversation has the id {conversation_id!r}"
            ) from None
