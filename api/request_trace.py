"""The spans of a call in the API: the submit, the reading of an answer, and a cancel.

An app without a tracer has no `TraceCalls` among its guards. Then a submit and the opening of a
stream look up one context variable each, and no other part of the API knows of traces.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Self, TypeAlias

from starlette.types import ASGIApp, Receive, Scope, Send

from tickertape.api.request_log import code_of
from tickertape.broker.new_requests import NewRequest
from tickertape.broker.requests import Record
from tickertape.broker.submission import Submission, Submitted
from tickertape.runtime.tracing import Attributes, Span, TraceContext, Tracer

Closed = Callable[[], None]
Find: TypeAlias = Callable[[str, str], Coroutine[Any, Any, Record]]
"""Finds the record of a request of a tenant."""


class CallTrace:
    """What spans of one call need: the caller's context, and those of the requests it reads."""

    def __init__(self, tracer: Tracer, caller: TraceContext | None) -> None:
        self.tracer = tracer
        self.caller = caller
        self._requests: dict[str, TraceContext] = {}

    def note_request(self, request_id: str, context: TraceContext | None) -> None:
        """Spans of readers of this request belong to its trace."""
        if context is not None:
            self._requests[request_id] = context

    def begin_read(self, request_id: str, attributes: Attributes) -> Span:
        """The span of a reader, as `begin`."""
        return self.begin("read", self._requests.get(request_id), attributes)

    def begin(
        self,
        name: str,
        context: TraceContext | None,
        attributes: Attributes,
        *,
        ago_s: float = 0.0,
    ) -> Span:
        """A span in the trace of a request, with a link to the caller's if that is another one."""
        caller = self.caller
        is_other = (
            context is not None and caller is not None and caller.trace_id != context.trace_id
        )
        return self.tracer.begin(
            name,
            kind="server",
            parent=context or caller,
            attributes=attributes,
            link=caller if is_other else None,
            ago_s=ago_s,
        )


_CALL: ContextVar[CallTrace | None] = ContextVar("the trace of the call", default=None)


class TraceCalls:
    """Takes `traceparent` and `tracestate` from each call. For apps with a tracer only."""

    def __init__(self, app: ASGIApp, tracer: Tracer) -> None:
        self._app = app
        self._tracer = tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the call on, with its context for the spans that it causes."""
        if scope["type"] == "http":
            caller = TraceContext.from_headers(scope["headers"])
            _CALL.set(CallTrace(self._tracer, caller))
        await self._app(scope, receive, send)


class SubmitSpan:
    """The span of a submit, for the length of a block. An error that leaves the block ends it."""

    def __init__(self, call: CallTrace, span: Span) -> None:
        self._call = call
        self._span = span

    def marked(self, submission: Submission) -> Submission:
        """The submission, whose request belongs to the trace of this span."""
        return submission.limited(trace=self._span.context.stored())

    def accepted(self, submitted: Submitted) -> None:
        """Note the request that the submit led to; the call's readers follow this span."""
        self._call.note_request(submitted.request_id, self._span.context)
        self._span.note(
            {
                "tickertape.request_id": submitted.request_id,
                "tickertape.request.is_new": submitted.is_new,
            }
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._span.end(None if error is None else code_of(error))


class _NoSpan(SubmitSpan):
    """Stands for the span of a submit while traces are off."""

    def __init__(self) -> None:
        pass

    def marked(self, submission: Submission) -> Submission:
        return submission

    def accepted(self, submitted: Submitted) -> None:
        pass

    def __exit__(self, *exc_info: object) -> None:
        pass


_NO_SPAN = _NoSpan()


def begin_submit(wire: str, tenant: str) -> SubmitSpan:
    """The span of a submit on a wire, as a child of the caller's span."""
    call = _CALL.get()
    if call is None:
        return _NO_SPAN
    attributes = {"tickertape.wire": wire, "tickertape.tenant": tenant}
    span = call.tracer.begin("submit", kind="server", parent=call.caller, attributes=attributes)
    return SubmitSpan(call, span)


def note_record(record: Record | NewRequest) -> None:
    """The call is about to read this request."""
    call = _CALL.get()
    if call is not None and record.trace:
        call.note_request(record.request_id, TraceContext.from_stored(record.trace))


def trace_reader(request_id: str, wire: str, position: int = 0) -> Closed | None:
    """A reader begins; call the result when it has left. None while traces are off."""
    call = _CALL.get()
    if call is None:
        return None
    attributes: Attributes = {
        "tickertape.request_id": request_id,
        "tickertape.wire": wire,
        "tickertape.position": position,
    }
    span = call.begin_read(request_id, attributes)
    return span.end


@contextmanager
def trace_known(
    name: str, request_id: str, tenant: str, find: Find, **attributes: str
) -> Iterator[None]:
    """A span for the length of a block, in the trace of a request whose record nobody has read.

    The record is looked up beside the block, which does not wait. Nothing is looked up while traces
    are off.
    """
    call = _CALL.get()
    if call is None:
        yield
        return
    begun_s, code = time.monotonic(), None
    finding = asyncio.create_task(find(request_id, tenant), name="trace of a request")
    try:
        yield
    except Exception as error:
        code = code_of(error)
        raise
    finally:
        took_s = time.monotonic() - begun_s
        about = {"tickertape.request_id": request_id, **attributes}

        def found(task: asyncio.Task[Record]) -> None:
            is_found = not task.cancelled() and task.exception() is None
            context = TraceContext.from_stored(task.result().trace) if is_found else None
            call.begin(name, context, about, ago_s=took_s).end(code)

        finding.add_done_callback(found)


def both(one: Closed | None, other: Closed | None) -> Closed | None:
    """Calls both; None if there is nothing to call."""
    if one is None or other is None:
        return one or other

    def closed() -> None:
        one()
        other()

    return closed
