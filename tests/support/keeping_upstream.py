"""A scripted upstream that keeps answers, and goes on with them while nobody reads.

As background responses of OpenAI, and as the streams of llama-server. Cut and Reset break off the
connections of all readers, and the answer goes on.
"""

import asyncio
import json
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

from tests.support.connection import Connection, Request
from tests.support.script import (
    Cut,
    Done,
    JsonObject,
    Pause,
    Reset,
    Script,
    Step,
    Text,
    Usage,
    Wait,
    bytes_of,
    error_body,
)
from tests.support.upstream import Call, ScriptedUpstream

_STREAM = {"content-type": "text/event-stream"}


@dataclass
class Kept:
    """An answer: its frames so far. A frame of a response is an event, of a stream some bytes."""

    id: str
    call: Call
    frames: list[bytes] = field(default_factory=list)
    is_over: bool = False
    breaks: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None

    def add(self, frame: bytes) -> None:
        self.frames.append(frame)
        self._tell()

    def break_off(self) -> None:
        self.breaks += 1
        self._tell()

    def end(self) -> None:
        self.is_over = True
        self._tell()

    def _tell(self) -> None:
        self.changed.set()
        self.changed = asyncio.Event()


Generate = Callable[[Kept, Script], Coroutine[Any, Any, None]]


class KeepingUpstream(ScriptedUpstream):
    """`calls` are the answers that were asked for; `replays` and `ended` have ids of answers."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[str, Kept] = {}
        self.replays: list[str] = []
        self.ended: list[str] = []

    async def close(self) -> None:
        tasks = [kept.task for kept in self.kept.values() if kept.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await super().close()

    async def _route(self, connection: Connection, request: Request) -> None:
        path, _, query = request.path.partition("?")
        given = {name: values[0] for name, values in parse_qs(query).items()}
        stream_id = request.headers.get("x-conversation-id")
        match request.method, path.removeprefix("/v1").split("/")[1:]:
            case "POST", ["responses"]:
                await self._respond(connection, request)
            case "POST", ["responses", kept_id, "cancel"]:
                self._end(connection, kept_id)
            case "GET", ["responses", kept_id]:
                first = int(given["starting_after"]) + 1 if "starting_after" in given else 0
                await self._replay(connection, kept_id, first)
            case "POST", ["chat", "completions"] if stream_id is not None:
                kept = Kept(stream_id, self._begin(request))
                self._keep(kept, self._stream)
                await self._send(connection, kept, 0)
            case "GET", ["stream"]:
                assert given["from"] == "0"
                await self._replay(connection, given["conv_id"], 0)
            case "DELETE", ["stream"]:
                self._end(connection, given["conv_id"])
            case _:
                await super()._route(connection, request)

    async def _respond(self, connection: Connection, request: Request) -> None:
        call = self._begin(request)
        assert call.body["background"]
        assert call.body["stream"]
        assert call.body["store"]
        call.body["messages"] = call.body["input"]
        kept = Kept(f"resp_{call.n}", call)
        self._keep(kept, self._events)
        await self._send(connection, kept, 0)

    def _keep(self, kept: Kept, generate: Generate) -> None:
        self.kept[kept.id] = kept
        kept.task = asyncio.create_task(generate(kept, self._script_for(kept.call)))

    async def _events(self, kept: Kept, script: Script) -> None:
        """Generate a response."""

        def add(kind: str, **fields: object) -> None:
            event = {"type": kind, "sequence_number": len(kept.frames), **fields}
            kept.add(f"event: {kind}\ndata: {json.dumps(event)}\n\n".encode())

        add("response.created", response={"id": kept.id, "status": "queued"})
        add("response.in_progress", response={"id": kept.id, "status": "in_progress"})
        add("response.output_item.added", output_index=0, item={"type": "message"})
        usage: JsonObject = {}
        for step in script:
            match step:
                case Text(text):
                    kept.call.deltas_sent += 1
                    add("response.output_text.delta", output_index=0, delta=text)
                case Usage(prompt, completion):
                    usage = {"input_tokens": prompt, "output_tokens": completion}
                case Done():
                    ended = {"id": kept.id, "status": "completed", "usage": usage}
                    add("response.completed", response=ended)
                case _:
                    await _wait(kept, step)
        kept.end()

    async def _stream(self, kept: Kept, script: Script) -> None:
        """Generate a stream of chunks."""
        for step in script:
            kept.call.deltas_sent += isinstance(step, Text)
            if frame := bytes_of(step):
                kept.add(frame)
            else:
                await _wait(kept, step)
        kept.end()

    async def _replay(self, connection: Connection, kept_id: str, first: int) -> None:
        self.replays.append(kept_id)
        if (kept := self.kept.get(kept_id)) is None:
            connection.respond_json(404, error_body("No such answer", "not_found"))
            return
        await self._send(connection, kept, first)

    async def _send(self, connection: Connection, kept: Kept, first: int) -> None:
        """Send the frames from the first one on, and those to come."""
        reading = asyncio.current_task()
        assert reading is not None
        connection.on_gone = reading.cancel
        connection.start_stream(_STREAM)
        breaks, at = kept.breaks, first
        while True:
            changed = kept.changed
            while at < len(kept.frames):
                await connection.send_chunk(kept.frames[at])
                at += 1
            if kept.breaks > breaks:
                connection.on_gone = None
                connection.cut()
                return
            if kept.is_over:
                connection.end_stream()
                connection.on_gone = None
                return
            await changed.wait()

    def _end(self, connection: Connection, kept_id: str) -> None:
        self.ended.append(kept_id)
        kept = self.kept.pop(kept_id, None)
        if kept is not None and kept.task is not None:
            kept.task.cancel()
        connection.respond_json(200, {"id": kept_id, "status": "cancelled"})


async def _wait(kept: Kept, step: Step) -> None:
    match step:
        case Pause(pause_s):
            await asyncio.sleep(pause_s)
        case Wait(gate):
            await gate.wait()
        case Cut() | Reset():
            kept.break_off()
