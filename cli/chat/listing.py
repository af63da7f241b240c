"""`tickertape list`: the conversations or the requests of the server, newest first."""

import asyncio
import sys
import time
from collections.abc import Sequence

from tickertape.cli.chat.client_settings import Server, make_client
from tickertape.cli.chat.server_errors import as_command_failed
from tickertape.cli.chat.text import one_line
from tickertape.cli.exits import Exit
from tickertape.client import AsyncClient, ConversationSummary, Request

_TITLE_WIDTH = 50


def run(server: Server, *, is_requests: bool, query: str | None, limit: int) -> int:
    """Print the table. Raises CommandFailed and SettingsInvalid."""
    return asyncio.run(_run(server, is_requests=is_requests, query=query, limit=limit))


async def _run(server: Server, *, is_requests: bool, query: str | None, limit: int) -> int:
    async with make_client(server) as client:
        with as_command_failed(client):
            if is_requests:
                table = request_table((await client.requests(limit=limit)).requests)
            else:
                table = await conversation_lines(client, query, limit)
    if table:
        print(table)
    else:
        print(words_for_nothing(is_requests=is_requests, query=query), file=sys.stderr)
    return Exit.OK


def words_for_nothing(*, is_requests: bool, query: str | None) -> str:
    """Pure: what stands in place of an empty table."""
    if is_requests:
        return "There are no requests."
    if query:
        return "No conversation has these words in its title."
    return "There are no conversations. --requests lists the requests that belong to none, too."


async def conversation_lines(client: AsyncClient, query: str | None, limit: int) -> str:
    """The table of the conversations. Raises the errors of the client."""
    page = await client.conversations(query=query, limit=limit)
    return conversation_table(page.conversations)


def conversation_table(conversations: Sequence[ConversationSummary]) -> str:
    """Pure but for the time zone: id, time, turns and title of each conversation."""
    rows = [
        (
            one_line(found.conversation_id, 200),
            _time(found.updated_at or found.created_at),
            f"{found.turns} turn{'' if found.turns == 1 else 's'}",
            ("… " if found.active_request_id else "") + one_line(found.title or "", _TITLE_WIDTH),
        )
        for found in conversations
    ]
    return _columns(rows)


def request_table(requests: Sequence[Request]) -> str:
    """Pure but for the time zone: id, time, state, role and model of each request."""
    rows = [
        (
            request.request_id,
            _time(request.created_at),
            one_line(request.status, 20),
            one_line(request.role or "", 40),
            one_line(request.model or "", _TITLE_WIDTH),
        )
        for request in requests
    ]
    return _columns(rows)


def _time(unix_s: float | None) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(unix_s)) if unix_s else ""


def _columns(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )
