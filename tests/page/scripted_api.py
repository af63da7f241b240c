"""The routes that the page uses, in memory: what is answered, lost and refused is a test's choice.

It keeps to the wire contract: requests of a conversation run one after the other, and its stream
tells them in turn.
"""

import asyncio
import contextlib
import itertools
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from aiohttp import web

import api

_PAGE_DIR = Path(api.__file__).parent / "page"
_ROLES = [{"name": "pirate", "description": "Arr."}, {"name": "sql", "description": "Only SQL."}]
# What the page needs and no more.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:;"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class Event(NamedTuple):
    """An event of a request's log, or news without a seq."""

    kind: str
    data: dict[str, Any]
    seq: int | None = None


@dataclass(eq=False)
class Asked:
    """A request."""

    request_id: str
    message: str
    log: list[Event] = field(default_factory=list)
    writing: asyncio.Task[None] | None = None

    @property
    def is_over(self) -> bool:
        return bool(self.log) and self.log[-1].kind in {"completed", "failed", "cancelled"}

    def append(self, kind: str, **data: Any) -> None:
        self.log.append(Event(kind, {"request_id": self.request_id, **data}, len(self.log)))


class ScriptedApi:
    """Answers each message with the pieces in `answers`; a piece may be an event to wait for.

    A piece that is an Event of a stream is written as it is. `refused_streams` streams are answered
    502, as a proxy does; `lost_replies` questions are taken and never answered. With `api_key`,
    calls need it.
    """

    def __init__(self) -> None:
        self.answers: dict[str, Sequence[str | asyncio.Event | Event]] = {}
        self.asked: list[Asked] = []
        self.refused_streams = 0
        self.lost_replies = 0
        self.api_key = ""
        self._by_key: dict[str, Asked] = {}
        self._conversations: dict[str, list[Asked]] = {}
        self._numbers = itertools.count(1)
        self._changed = asyncio.Condition()
        self._streams: set[asyncio.Transport] = set()

    @property
    def open_streams(self) -> int:
        return len(self._streams)

    def cut_streams(self) -> None:
        """Break every open stream off, as a proxy that restarts does."""
        for transport in self._streams:
            transport.abort()

    async def tell(self, asked: Asked, kind: str, **data: Any) -> None:
        """News that is not part of the log."""
        asked.log.append(Event(kind, {"request_id": asked.request_id, **data}))
        await self._tell_all()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        """Serve at a free port; gives the base URL."""
        app = web.Application(middlewares=[self._check_key])
        app.router.add_get("/", self._page)
        app.router.add_get(r"/{name:\w+\.(?:js|css)}", self._page)
        app.router.add_get("/roles", self._list_roles)
        app.router.add_post("/chat", self._submit)
        app.router.add_post("/chat/{id}/cancel", self._cancel)
        app.router.add_get("/conversations/{id}/stream", self._stream)
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            for asked in self.asked:
                if asked.writing:
                    asked.writing.cancel()
            await asyncio.gather(
                *(asked.writing for asked in self.asked if asked.writing), return_exceptions=True
            )
            self.cut_streams()
            await runner.cleanup()

    @web.middleware
    async def _check_key(self, request: web.Request, handler: Any) -> web.StreamResponse:
        is_open = request.path == "/" or "." in request.path
        if self.api_key and not is_open:
            given = request.headers.get("Authorization", "")
            if given != f"Bearer {self.api_key}":
                return _refusal(401, "The API key is missing or wrong.", code="invalid_api_key")
        answer: web.StreamResponse = await handler(request)
        return answer

    async def _page(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info.get("name", "index.html")
        policy = {"Content-Security-Policy": _POLICY, "Cache-Control": "no-cache"}
        return web.FileResponse(_PAGE_DIR / name, headers=policy)

    async def _list_roles(self, request: web.Request) -> web.Response:
        return web.json_response({"roles": _ROLES})

    async def _submit(self, request: web.Request) -> web.Response:
        body = await request.json()
        if len(body["message"]) > 5000:
            return _refusal(400, "message: too long", param="message", code="invalid_value")
        key = request.headers["Idempotency-Key"]
        asked = self._by_key.get(key) or await self._accept(key, body)
        if self.lost_replies:
            self.lost_replies -= 1
            assert request.transport is not None
            request.transport.abort()
        return web.json_response(
            {"request_id": asked.request_id, "status": "queued"}, status=202
        )

    async def _accept(self, key: str, body: dict[str, Any]) -> Asked:
        talk = self._conversations.setdefault(body["conversation_id"], [])
        before = talk[-1] if talk else None
        asked = Asked(f"r{next(self._numbers)}", body["message"])
        asked.append(
            "queued",
            messages=[{"role": "user", "content": asked.message}],
            role=body.get("role"),
        )
        talk.append(asked)
        self.asked.append(asked)
        self._by_key[key] = asked
        asked.writing = asyncio.create_task(self._write(asked, before), name=asked.request_id)
        await self._tell_all()
        return asked

    async def _write(self, asked: Asked, before: Asked | None) -> None:
        async with self._changed:
            await self._changed.wait_for(lambda: before is None or before.is_over)
        if asked.is_over:
            return
        asked.append("started", n=1, model="scripted")
        await self._tell_all()
        for piece in self.answers.get(asked.message, ["You said: ", asked.message]):
            match piece:
                case asyncio.Event():
                    await piece.wait()
                case Event():
                    asked.append(piece.kind, **piece.data)
                case str():
                    asked.append("delta", text=piece)
            await self._tell_all()
            if asked.is_over:
                return
        asked.append("completed", finish_reason="stop", usage={"completion_tokens": 7}, sha256="")
        await self._tell_all()

    async def _cancel(self, request: web.Request) -> web.Response:
        [asked] = [one for one in self.asked if one.request_id == request.match_info["id"]]
        if not asked.is_over:
            if asked.writing:
                asked.writing.cancel()
            asked.append("cancelled")
            await self._tell_all()
        return web.json_response({"request_id": asked.request_id, "status": asked.log[-1].kind})

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        if self.refused_streams:
            self.refused_streams -= 1
            return web.Response(status=502, text="<h1>Bad Gateway</h1>", content_type="text/html")
        response = web.StreamResponse(
            headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"}
        )
        await response.prepare(request)
        await response.write(b": hb\n\n")
        assert request.transport is not None
        transport = request.transport
        self._streams.add(transport)
        try:
            after = request.headers.get("Last-Event-ID") or request.query.get("after", "")
            async for event in self._events(request.match_info["id"], after):
                await response.write(_frame(event))
        except ConnectionError:
            pass  # the page has left
        finally:
            self._streams.discard(transport)
        return response

    async def _events(self, conversation_id: str, after: str) -> AsyncIterator[Event]:
        request_id, _, seq = after.partition(":1-")
        talk = self._conversations.setdefault(conversation_id, [])
        at = next((n for n, asked in enumerate(talk) if asked.request_id == request_id), 0)
        for position in itertools.count(at):
            async with self._changed:
                await self._changed.wait_for(lambda p=position: len(talk) > p)  # type: ignore[misc]  # mypy cannot type a lambda's default
            asked = talk[position]
            sent = int(seq) + 1 if request_id == asked.request_id else 0
            while not (asked.is_over and sent >= len(asked.log)):
                async with self._changed:
                    await self._changed.wait_for(lambda a=asked, s=sent: len(a.log) > s)  # type: ignore[misc]  # mypy cannot type a lambda's default
                for event in asked.log[sent:]:
                    yield event
                    sent += 1

    async def _tell_all(self) -> None:
        async with self._changed:
            self._changed.notify_all()


def _frame(event: Event) -> bytes:
    place = "" if event.seq is None else f"id: {event.data['request_id']}:1-{event.seq}\n"
    return f"{place}event: {event.kind}\ndata: {json.dumps(event.data)}\n\n".encode()


def _refusal(status: int, message: str, *, code: str, param: str | None = None) -> web.Response:
    error = {"message": message, "type": "invalid_request_error", "param": param, "code": code}
    return web.json_response({"error": error}, status=status)
