"""A call that submits a request and returns its answer, as OpenAI's clients expect.

Until the answer begins, a failure becomes an HTTP error. If the caller disconnects, the request
goes on, unless the call requested its cancellation on a disconnect.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from starlette.responses import JSONResponse, Response

from tickertape.api.edge.caller import Caller, taken_back
from tickertape.api.edge.problems import STOPPING, Problem
from tickertape.api.fanout.catching_up import decoded
from tickertape.api.fanout.leaving import Leaving
from tickertape.api.fanout.stream_response import OnLeft
from tickertape.api.fanout.tape import Tape
from tickertape.api.fanout.waiting import Waited
from tickertape.api.fanout.watched_log import WatchedLog
from tickertape.api.fanout.wire import Dialect
from tickertape.api.protocols.error_replies import LOG_GONE, REPEATABLE, ErrorReply, error_reply
from tickertape.api.protocols.late_json import LateJson, cancelled, done_within
from tickertape.api.request_trace import trace_reader
from tickertape.api.services import Services
from tickertape.broker.codec import Entry
from tickertape.broker.errors import Unavailable
from tickertape.runtime.json_types import JsonObject

_RETRY_AFTER_S = 2


class Foreground:
    """One call and the request that it submitted.

    With `cancels_on_leave`, the request is cancelled when the caller leaves, and when its key is
    taken back. `is_repeatable` states
    that the call had an idempotency key or an SDK's count of its tries, so that a repeated call
    finds the same request.
    """

    def __init__(
        self,
        services: Services,
        caller: Caller,
        request_id: str,
        leaving: Leaving,
        *,
        cancels_on_leave: bool = False,
        is_repeatable: bool = False,
    ) -> None:
        self._services = services
        self._caller = caller
        self._request_id = request_id
        self._leaving = leaving
        self._cancels_on_leave = cancels_on_leave
        self._is_repeatable = is_repeatable

    async def stream(self, dialect: Dialect) -> Response:
        """The stream, after the first output or a delay; raises Problem for an early failure."""
        streams = self._services.streams
        async with self._watch(dialect) as watched:
            # From here on, each entry is rendered as it is decoded for the tape.
            await streams.hub.rendering(watched, dialect.name, dialect.make)
            waited = await self._wait(
                watched, _has_begun, limit_s=self._services.timing.head_delay_s
            )
            if waited is Waited.MET and not watched.tape.has_output():
                self._raise_if_failed(watched.tape.entries()[-1])
            on_left: OnLeft | None = self._cancel if self._cancels_on_leave else None
            return await streams.follow(self._request_id, dialect, held=watched, on_left=on_left)

    async def answer(self, render: Callable[[list[Entry]], Awaitable[JsonObject]]) -> Response:
        """The whole answer as JSON, made by `render`; raises Problem for an early failure.

        From the time of a heartbeat on, the head is sent, and white space at each heartbeat. A
        failure is then a JSON error under the status 200.
        """
        content = asyncio.create_task(self._content(render), name="answer")
        closed = trace_reader(self._request_id, "json")
        if closed is not None:
            content.add_done_callback(lambda _: closed())
        headers = {"X-Request-Id": self._request_id}
        interval_s = self._services.settings.heartbeat_s
        try:
            if not await done_within(content, interval_s):
                return LateJson(content, interval_s, headers)
        except asyncio.CancelledError:
            await cancelled(content)
            raise
        return Response(content.result(), media_type="application/json", headers=headers)

    async def _content(self, render: Callable[[list[Entry]], Awaitable[JsonObject]]) -> bytes:
        return bytes(JSONResponse(await render(await self._entries())).body)

    async def _entries(self) -> list[Entry]:
        """The whole log of a completed request; raises Problem if the request failed."""
        async with self._watch() as watched:
            await self._wait(watched, _is_over)
            entries = await decoded(watched.tape)
        self._raise_if_failed(entries[-1])
        return entries

    @asynccontextmanager
    async def _watch(self, dialect: Dialect | None = None) -> AsyncIterator[WatchedLog]:
        hub, requests = self._services.streams.hub, self._services.requests
        new = requests.find_new(self._request_id, self._caller.principal)
        is_short = new is not None and new.is_short
        try:
            async with hub.watch(self._request_id, is_short=is_short, dialect=dialect) as watched:
                yield watched
        except Unavailable as error:
            raise self._problem(ErrorReply(503, "unavailable", str(error))) from None

    async def _wait(
        self, watched: WatchedLog, is_met: Callable[[Tape], bool], *, limit_s: float | None = None
    ) -> Waited:
        with self._services.streams.waiting(watched, self._caller.permit) as waiting:
            waited = await waiting.until(is_met, self._leaving, limit_s=limit_s)
        if waited in {Waited.LEFT, Waited.TAKEN_BACK} and self._cancels_on_leave:
            await self._cancel()
        match waited:
            case Waited.LEFT:
                # The caller has disconnected, so this error ends the call without a reader.
                raise self._problem(ErrorReply(400, "client_gone", "The caller has left."))
            case Waited.TAKEN_BACK:
                problem = taken_back()
                raise self._problem(ErrorReply(401, problem.code, problem.message))
            case Waited.STOPPED:
                raise self._problem(ErrorReply(503, "draining", STOPPING))
            case Waited.LOST:
                raise self._problem(LOG_GONE)
        return waited

    def _raise_if_failed(self, last: Entry) -> None:
        if last.kind in {"failed", "cancelled"}:
            raise self._problem(error_reply(last))

    def _problem(self, error: ErrorReply) -> Problem:
        """The HTTP error of a request that was accepted.

        OpenAI's clients repeat a failed call. Without an idempotency key that would submit a second
        request, although the worker has retried the first one already or still runs it.
        """
        headers = {
            "X-Request-Id": self._request_id,
            "x-should-retry": "true" if self._may_be_repeated(error) else "false",
        }
        if error.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        if error.status in {429, 503}:
            headers["Retry-After"] = str(_RETRY_AFTER_S)
        return Problem(error.status, error.code, error.message, headers=headers)

    def _may_be_repeated(self, error: ErrorReply) -> bool:
        return self._is_repeatable and error.code in REPEATABLE

    async def _cancel(self) -> None:
        await self._services.cancel(self._request_id, self._caller.principal)


def _is_over(tape: Tape) -> bool:
    return tape.is_over


def _has_begun(tape: Tape) -> bool:
    return tape.is_over or tape.has_output()
