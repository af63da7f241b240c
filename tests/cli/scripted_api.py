"""A scripted API with one finished request. A test can make each of its connections fail."""

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from tests.support.connection import Connection, Request

REQUEST_ID = "r0_scripted"


@dataclass(frozen=True)
class Whole:
    """Everything from the cursor to the end."""


@dataclass(frozen=True)
class Cut:
    """The connection breaks after so many bytes of what is to be read."""

    after_bytes: int


@dataclass(frozen=True)
class Lose:
    """Everything but the event with this cursor."""

    cursor: str


@dataclass(frozen=True)
class Refuse:
    """A status instead of an answer."""

    status: int
    body: str = ""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class LoseReply:
    """Do it, and break the connection instead of answering."""


Behaviour = Whole | Cut | Lose | Refuse | LoseReply


@dataclass(frozen=True)
class Frame:
    """One event of the log; without a cursor it is sent only when reading from the beginning."""

    kind: str
    data: dict[str, Any]
    cursor: str | None = None

    def encode(self) -> bytes:
        cursor = f"id: {self.cursor}\n" if self.cursor else ""
        text = json.dumps(self.data, ensure_ascii=False)
        return f"{cursor}event: {self.kind}\ndata: {text}\n\n".encode()


class ScriptedApi:
    """`behaviours` are taken one per connection to the stream, `replies` one per submit.

    With none left, all goes well. `bodies` and `keys` are what was submitted, `cursors` where the
    reading began.
    """

    def __init__(self, frames: list[Frame]) -> None:
        self.frames = frames
        self.behaviours: deque[Behaviour] = deque()
        self.replies: deque[Behaviour] = deque()
        self.cursors: list[str | None] = []
        self.bodies: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.authorizations: set[str | None] = set()
        self.models: dict[str, Any] = {"data": []}
        self.record: dict[str, Any] = {"request_id": REQUEST_ID, "status": "completed"}
        self.url = ""
        self._connections: set[Connection] = set()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["ScriptedApi"]:
        server = await asyncio.get_running_loop().create_server(
            lambda: Connection(self._serve, self._connections), "127.0.0.1", 0
        )
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            server.close()
            await asyncio.gather(*(connection.abort() for connection in [*self._connections]))

    async def _serve(self, connection: Connection) -> None:
        while (request := await connection.read_request()) is not None:
            self.authorizations.add(request.headers.get("authorization"))
            match request.method, request.path:
                case "POST", "/chat":
                    self._accept(connection, request)
                case "GET", "/v1/models":
                    connection.respond_json(200, self.models)
                case "GET", path if path.endswith("/stream"):
                    await self._stream(connection, request)
                case "GET", _:
                    connection.respond_json(200, self.record)
                case _:
                    connection.respond_json(404, {"error": {"message": "There is nothing here."}})

    def _accept(self, connection: Connection, request: Request) -> None:
        self.bodies.append(json.loads(request.body))
        self.keys.append(request.headers["idempotency-key"])
        match self.replies.popleft() if self.replies else Whole():
            case Refuse(status, body, headers):
                connection.respond(status, headers, body.encode())
            case LoseReply():
                connection.reset()
            case _:
                connection.respond_json(202, {"request_id": REQUEST_ID, "status": "queued"})

    async def _stream(self, connection: Connection, request: Request) -> None:
        cursor = request.headers.get("last-event-id")
        self.cursors.append(cursor)
        match self.behaviours.popleft() if self.behaviours else Whole():
            case Refuse(status, body, headers):
                connection.respond(status, headers, body.encode())
            case LoseReply():
                connection.reset()
            case Cut(after_bytes):
                connection.start_stream({"content-type": "text/event-stream"})
                await connection.send_chunk(self._after(cursor)[:after_bytes] or b": hb\n\n")
                connection.cut()
            case Lose(lost):
                connection.start_stream({"content-type": "text/event-stream"})
                kept = [frame.encode() for frame in self.frames if frame.cursor != lost]
                await connection.send_chunk(b"".join(kept))
                connection.end_stream()
            case _ if cursor is not None and cursor == self.frames[-1].cursor:
                connection.respond(204, {}, b"")
            case _:
                connection.start_stream({"content-type": "text/event-stream"})
                await connection.send_chunk(self._after(cursor))
                connection.end_stream()

    def _after(self, cursor: str | None) -> bytes:
        frames = self.frames
        if cursor is not None:
            cursors = [frame.cursor for frame in frames]
            if cursor not in cursors:
                rewind = Frame("rewind", {"reason": "cursor_not_found"})
                frames = [rewind, *frames]
            else:
                frames = frames[cursors.index(cursor) + 1 :]
        return b"".join(frame.encode() for frame in frames)
