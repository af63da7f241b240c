"""A front for API processes that breaks each event stream off after another of its events."""

import asyncio
import contextlib
from itertools import cycle
from typing import Self

_READ_BYTES = 65_536


class Cutting:
    """Forwards each connection to the next of `ports`, and cuts it behind an event.

    A connection ends behind its first event that no connection has ended behind. So a client that
    comes back is cut off once behind every event of a stream, however the stream repeats some of
    them. `cuts` counts the connections that were cut off.
    """

    def __init__(self, *ports: int) -> None:
        self.port = 0
        self.cuts = 0
        self._ports = cycle(ports)
        self._known: set[bytes] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._forward(reader, writer), name="cut connection")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(ConnectionError):
                await self._exchange(reader, writer)
        finally:
            # Closed and not reset: a client reads what was sent, and then that the end is missing.
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_api, to_api = await asyncio.open_connection("127.0.0.1", next(self._ports))
        sending = asyncio.create_task(_send(reader, to_api), name="call")
        try:
            await self._answer(from_api, writer)
        finally:
            sending.cancel()
            to_api.close()

    async def _answer(self, from_api: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Forward an answer up to the event behind which it ends."""
        unread = b""
        while data := await from_api.read(_READ_BYTES):
            # Node takes the end of a connection that was to be closed for the end of its answer.
            data = data.replace(b"connection: close\r\n", b"")
            *events, unread = (unread + data).split(b"\n\n")
            for event in events:
                writer.write(event + b"\n\n")
                # The first event has the head of the answer, or of its chunk, before it.
                name = b"".join(line for line in event.split(b"\n") if line.startswith(_FIELDS))
                if name and name not in self._known:
                    self._known.add(name)
                    self.cuts += 1
                    return
            if not unread.startswith(_FIELDS):
                # The rest of a chunk that ends with a whole event.
                writer.write(unread)
                unread = b""
        writer.write(unread)


_FIELDS = (b"id: ", b"data: ")


async def _send(reader: asyncio.StreamReader, to_api: asyncio.StreamWriter) -> None:
    while data := await reader.read(_READ_BYTES):
        to_api.write(data)
