"""The WebSocket of a browser's remote protocol: numbered commands, their replies, and events."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp

Message = dict[str, Any]

_COMMAND_TIMEOUT_S = 20
# Longer than the largest screenshot in base64.
_MAX_MESSAGE_BYTES = 64 * 1024 * 1024


class Navigated(AssertionError):
    """The page was left while a command ran in it, so the command has no result."""


class BrowserSocket:
    """Chromium's DevTools protocol and WebDriver BiDi number commands alike."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Message]] = {}

    async def command(self, method: str, params: Message, **fields: str) -> Message:
        """Send a command and return its result; raises AssertionError if the browser refuses it."""
        number = next(self._numbers)
        reply = self._waiting[number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": number, "method": method, "params": params, **fields})
        async with asyncio.timeout(_COMMAND_TIMEOUT_S):
            message = await reply
        if "Inspected target navigated" in str(message.get("error")):
            raise Navigated
        assert "error" not in message, f"{method}: {message['error']} {message.get('message', '')}"
        result: Message = message["result"]
        return result

    async def read(self, take: Callable[[Message], None]) -> None:
        """Give replies to their commands and events to `take`, until the browser closes."""
        async for message in self._socket:
            fields = message.json()
            if fields.get("id") is None:
                take(fields)
            elif not (waiting := self._waiting.pop(fields["id"])).done():
                waiting.set_result(fields)

    async def close(self) -> None:
        """Close the connection, which ends `read`."""
        await self._socket.close()


@contextlib.asynccontextmanager
async def open_socket(address: str) -> AsyncIterator[BrowserSocket]:
    """Connect to a browser."""
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(address, max_msg_size=_MAX_MESSAGE_BYTES) as socket,
    ):
        yield BrowserSocket(socket)
