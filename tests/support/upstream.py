"""An OpenAI-compatible upstream over real HTTP whose every byte, pause and failure is scripted.

In a test: `async with ScriptedUpstream() as upstream`. As a process of its own, where the prompts
contain the plan of the answer (tests/support/prompted.py): `python -m tests.support.upstream
--help`.
"""

import asyncio
import json
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Self

from tests.support.connection import Connection, Request
from tests.support.script import (
    CREATED_S,
    DEFAULT_MODEL,
    Cut,
    Headers,
    JsonObject,
    LineEnding,
    Pause,
    Reset,
    Script,
    Split,
    Status,
    Step,
    Wait,
    answer,
    bytes_of,
    error_body,
    is_output,
)

_MAX_JOURNAL = 100_000
_SEGMENT_GAP_S = 0.001
_STREAM_HEADERS = {"content-type": "text/event-stream", "cache-control": "no-cache"}


@dataclass(eq=False)
class Call:
    """One chat request as the upstream saw it. Times are of the machine's monotonic clock.

    `outcome` is None while it runs; then `answered` (the script was played to its end), `refused`
    (a Status), `cut`, `reset`, `aborted` (the upstream was closed), or `closed`: the client left
    first. Only then are `closed` and `closed_at_s` set. `ended` is set with any outcome.
    """

    n: int
    path: str
    headers: Mapping[str, str]
    has_authorization: bool
    body: JsonObject
    started_at_s: float
    deltas_sent: int = 0
    outcome: str | None = None
    closed_at_s: float | None = None
    closed: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def model(self) -> str:
        return str(self.body.get("model") or DEFAULT_MODEL)

    def end(self, outcome: str) -> None:
        if self.outcome is not None:
            return
        self.outcome = outcome
        if outcome == "closed":
            self.closed_at_s = time.monotonic()
            self.closed.set()
        self.ended.set()

    def as_json(self) -> JsonObject:
        """A line of the journal."""
        return {
            "n": self.n,
            "path": self.path,
            "headers": dict(self.headers),
            "has_authorization": self.has_authorization,
            "body": self.body,
            "started_at_s": self.started_at_s,
            "deltas_sent": self.deltas_sent,
            "outcome": self.outcome,
            "closed_at_s": self.closed_at_s,
        }


class ScriptedUpstream:
    """Plays `script`, or what it returns for a call, to each chat request, and keeps a journal.

    Scripts of `enqueue` are played first, one per request. With `api_key`, or with
    `authorization` for the whole header, any other gets a 401. Of the key it got, the journal keeps
    only that there was one. An error inside a script is raised at the end of the block.
    """

    def __init__(
        self, *, api_key: str | None = None, port: int = 0, authorization: str | None = None
    ) -> None:
        self.script: Script | Callable[[Call], Script] = answer("Hello, world.")
        self.models = [DEFAULT_MODEL]
        self.owner = "scripted"
        self.models_status = 200
        self.calls: deque[Call] = deque(maxlen=_MAX_JOURNAL)
        self._port = port
        self._accepted = {authorization} if authorization else set()
        if api_key:
            self.accept_keys(api_key)
        self._queue: deque[Script] = deque()
        self._received = 0
        self._failures: list[Exception] = []
        self._connections: set[Connection] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.get_running_loop().create_server(
            lambda: Connection(self._serve, self._connections),
            "127.0.0.1",
            self._port,
            backlog=4096,
        )
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()
        if self._failures:
            raise self._failures[0]

    @property
    def base_url(self) -> str:
        """The value of a client's OPENAI_BASE_URL."""
        return f"http://127.0.0.1:{self._port}/v1"

    def accept_keys(self, *api_keys: str) -> None:
        """Answer calls with these keys only; calls that are under way go on."""
        self._accepted = {f"Bearer {key}" for key in api_keys}

    def enqueue(self, *scripts: Script) -> None:
        """Play these to the next requests, one each, before `script` is used again."""
        self._queue.extend(scripts)

    async def close(self) -> None:
        """Stop listening and break off every connection, as a crash would."""
        if self._server is not None:
            self._server.close()
            self._server = None
        await asyncio.gather(*(connection.abort() for connection in [*self._connections]))

    async def _serve(self, connection: Connection) -> None:
        try:
            while (request := await connection.read_request()) is not None:
                await self._route(connection, request)
        except Exception as error:  # noqa: BLE001  # raised again where the test can see it
            self._failures.append(error)

    async def _route(self, connection: Connection, request: Request) -> None:
        match request.method, request.path.partition("?")[0]:
            case _, path if path != "/journal" and not self._is_authorized(request):
                connection.respond_json(401, error_body("Incorrect API key", "invalid_api_key"))
            case "POST", path if request.body == b"{}":
                status = 400 if path == "/v1/chat/completions" else 404
                connection.respond_json(status, error_body("No model", "missing_parameter"))
            case "POST", path if path.endswith("/chat/completions"):
                await self._answer(connection, self._begin(request))
            case "GET", "/v1/models" if self.models_status != 200:
                connection.respond_json(self.models_status, error_body("No list", "no_list"))
            case "GET", "/v1/models":
                connection.respond_json(200, {"object": "list", "data": self._model_list()})
            case "GET", "/journal":
                connection.respond_json(200, [call.as_json() for call in self.calls])
            case "DELETE", "/journal":
                self.calls.clear()
                connection.respond_json(200, {})
            case _:
                connection.respond_json(404, error_body("No such route", "not_found"))

    def _is_authorized(self, request: Request) -> bool:
        return not self._accepted or request.headers.get("authorization") in self._accepted

    def _model_list(self) -> list[JsonObject]:
        constant = {"object": "model", "created": CREATED_S, "owned_by": self.owner}
        return [{"id": model, **constant} for model in self.models]

    def _begin(self, request: Request) -> Call:
        headers = {k: v for k, v in request.headers.items() if k != "authorization"}
        call = Call(
            self._received,
            request.path,
            headers,
            "authorization" in request.headers,
            json.loads(request.body),
            time.monotonic(),
        )
        self._received += 1
        self.calls.append(call)
        return call

    def _script_for(self, call: Call) -> Script:
        if self._queue:
            return self._queue.popleft()
        return self.script(call) if callable(self.script) else self.script

    async def _answer(self, connection: Connection, call: Call) -> None:
        playing = asyncio.current_task()
        assert playing is not None
        # A real upstream stops generating when its client leaves, at any step.
        connection.on_gone = playing.cancel
        try:
            await _Player(connection, call).play(self._script_for(call))
        except asyncio.CancelledError:
            call.end("closed" if connection.is_gone else "aborted")
            raise
        finally:
            connection.on_gone = None


class _Player:
    """Plays one script to one client."""

    def __init__(self, connection: Connection, call: Call) -> None:
        self._connection = connection
        self._call = call
        self._eol = "\n"
        self._has_started = False

    async def play(self, script: Script) -> None:
        for step in script:
            await self._play(step)
            if self._call.outcome is not None:
                return
        self._start({})
        self._connection.end_stream()
        self._call.end("answered")

    async def _play(self, step: Step) -> None:
        match step:
            case Pause(pause_s):
                await asyncio.sleep(pause_s)
            case Wait(gate):
                await gate.wait()
            case Headers(extra):
                self._start(extra)
            case LineEnding(eol):
                self._eol = eol
            case Split(inner, offsets):
                await self._send_split(inner, offsets)
            case Status(status, headers, body):
                self._refuse(status, headers, body)
            case Cut():
                self._start({})
                self._call.end("cut")
                self._connection.cut()
            case Reset():
                self._call.end("reset")
                self._connection.reset()
            case _:
                await self._send(self._bytes_of(step))
        if is_output(step):
            self._call.deltas_sent += 1

    async def _send(self, data: bytes) -> None:
        if data:
            self._start({})
            await self._connection.send_chunk(data)

    async def _send_split(self, step: Step | bytes, offsets: Sequence[int]) -> None:
        data = step if isinstance(step, bytes) else self._bytes_of(step)
        edges = [0, *offsets, len(data)]
        for begin, end in pairwise(edges):
            await self._send(data[begin:end])
            # Lets the client's loop read this piece before the next one can join it.
            await asyncio.sleep(_SEGMENT_GAP_S)

    def _bytes_of(self, step: Step) -> bytes:
        return bytes_of(step, model=self._call.model, eol=self._eol)

    def _start(self, extra: Mapping[str, str]) -> None:
        if not self._has_started:
            self._has_started = True
            request_id = {"x-request-id": f"req-scripted-{self._call.n}"}
            self._connection.start_stream({**_STREAM_HEADERS, **request_id, **extra})

    def _refuse(self, status: int, headers: Mapping[str, str], body: object) -> None:
        assert not self._has_started, "a Status must be the first step of its script"
        if isinstance(body, str):
            kind = {"content-type": "text/html"}
            self._connection.respond(status, {**kind, **headers}, body.encode())
        else:
            self._connection.respond_json(status, body, headers)
        self._call.end("refused")


if __name__ == "__main__":
    from tests.support.prompted import main

    main()
