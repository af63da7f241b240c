"""The spans of one attempt. Nothing here is called for a token, and nothing here sees a prompt.

    submit (API) ─▶ queue wait, or takeover
                 ─▶ attempt ─▶ upstream call ─▶ first token

A request that was submitted without a trace begins one with each attempt.
"""

import asyncio
import time
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from tickertape.broker.leases import Lease
from tickertape.broker.principals import tenant_of
from tickertape.runtime.tracing import Attributes, Span, TraceContext, Tracer
from tickertape.worker.failures import SourceFailed
from tickertape.worker.gen_ai import request_attributes, response_attributes
from tickertape.worker.outcome import Broken, Completed, Failed, NotContinuable, Outcome, Stop
from tickertape.worker.source import Origin
from tickertape.worker.upstream.errors import UpstreamError
from tickertape.worker.upstream.tally import Tally

_PORTS = {"http": 80, "https": 443}
_MAX_NAME_CHARS = 256


class CallSpan:
    """The span of one call of a source, for the length of a block."""

    def __init__(self, tracer: Tracer, span: Span, tally: Tally) -> None:
        self._tracer = tracer
        self._span = span
        self._tally = tally
        self._begun_at_s = time.monotonic()

    def first_output(self) -> None:
        """Note that the first output has arrived."""
        waited_s = time.monotonic() - self._begun_at_s
        self._tracer.begin("first token", parent=self._span.context, ago_s=waited_s).end()
        if self._tracer.has_gen_ai:
            self._span.note({"gen_ai.response.time_to_first_chunk": waited_s})

    def answered_by(self, upstream: str | None) -> None:
        """Note which of several upstreams was called last."""
        if upstream is not None:
            self._span.note({"tickertape.upstream": upstream})

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._tracer.has_gen_ai:
            self._span.note(response_attributes(self._tally))
        self._span.end(None if error is None else _code_of(error))


class AttemptTrace:
    """The span of an attempt, and those below it."""

    def __init__(self, tracer: Tracer, lease: Lease) -> None:
        self._tracer = tracer
        parent = TraceContext.from_stored(lease.trace)
        if parent is not None and lease.n == 1:
            tracer.begin("queue wait", parent=parent, ago_s=lease.waited_s).end()
        if lease.away_s is not None:
            tracer.begin("takeover", parent=parent, ago_s=lease.away_s).end()
        self._span = tracer.begin(
            "attempt",
            kind="consumer",
            parent=parent,
            attributes={
                "tickertape.request_id": lease.request_id,
                "tickertape.tenant": tenant_of(lease.tenant),
                "tickertape.attempt": lease.n,
                "tickertape.opener": lease.opener,
                "tickertape.crashes": lease.crashes,
                "tickertape.retries": lease.retries,
            },
        )
        self._call: CallSpan | None = None
        self._outcome = ""
        self._error: str | None = None

    def call(self, origin: Origin, body: dict[str, Any], tally: Tally) -> CallSpan:
        """The span of the call; its name has the model only by the conventions for that."""
        model = origin.model[:_MAX_NAME_CHARS] if isinstance(origin.model, str) else None
        attributes = {**_server(origin.url), f"tickertape.{origin.kind}": origin.name}
        name = f"{origin.kind} call"
        if self._tracer.has_gen_ai:
            attributes |= request_attributes(body, origin.name, model)
            name = f"chat {model}" if model else "chat"
        span = self._tracer.begin(
            name, kind="client", parent=self._span.context, attributes=attributes
        )
        self._call = CallSpan(self._tracer, span, tally)
        return self._call

    def first_output(self) -> None:
        """Note that the first output has arrived."""
        if self._call is not None:
            self._call.first_output()

    def concluded(self, outcome: Outcome) -> None:
        """Note how the attempt ended. The last of several calls counts."""
        match outcome:
            case Completed():
                self._outcome, self._error = "completed", None
            case Broken(failure) | Failed(failure) | NotContinuable(failure):
                self._outcome, self._error = "failed", failure.code.value
            case Stop.FENCED:
                self._outcome, self._error = "fenced", None
            case Stop.DRAINED:
                self._outcome, self._error = "released", None
            case Stop.LOG_FULL:
                self._outcome, self._error = "failed", "too_long"
            case Stop.LOG_LOST:
                self._outcome, self._error = "failed", "log_lost"

    def followed_by(self, lease: Lease | None, due_in_ms: int | None) -> None:
        """Note what follows: the next attempt in this worker, or a later one."""
        if lease is not None:
            self._outcome = "restarted"
        elif due_in_ms is not None:
            self._outcome = "retried"
            self._span.note({"tickertape.due_in_ms": due_in_ms})

    def end(self, *, is_cancelled: bool) -> None:
        """The attempt is over. `is_cancelled`: another process has ended its request."""
        if self._outcome == "fenced" and is_cancelled:
            self._outcome = "cancelled"
        self._span.note({"tickertape.outcome": self._outcome or "abandoned"})
        self._span.end(self._error)


class _NoCall(CallSpan):
    """Stands for the span of a call while traces are off."""

    def __init__(self) -> None:
        pass

    def answered_by(self, upstream: str | None) -> None:
        pass

    def __exit__(self, *exc_info: object) -> None:
        pass


class _NoTrace(AttemptTrace):
    """Stands for the spans of an attempt while traces are off."""

    def __init__(self) -> None:
        pass

    def call(self, *_: object) -> CallSpan:
        return _NO_CALL

    def first_output(self) -> None:
        pass

    def concluded(self, outcome: Outcome) -> None:
        pass

    def followed_by(self, lease: Lease | None, due_in_ms: int | None) -> None:
        pass

    def end(self, *, is_cancelled: bool) -> None:
        pass


_NO_CALL, _NO_TRACE = _NoCall(), _NoTrace()


def begin_attempt(tracer: Tracer | None, lease: Lease) -> AttemptTrace:
    """The spans of an attempt that has begun, in the trace of its request."""
    return _NO_TRACE if tracer is None else AttemptTrace(tracer, lease)


def _server(url: str | None) -> Attributes:
    parts = urlsplit(url or "")
    if not parts.hostname:
        return {}
    port = parts.port or _PORTS.get(parts.scheme, 0)
    return {"server.address": parts.hostname, "server.port": port}


def _code_of(error: BaseException) -> str:
    """The code of a failure, or the type of another error. Its text may have content."""
    if isinstance(error, UpstreamError):
        return error.code.value
    if isinstance(error, SourceFailed):
        return error.failure.code.value
    if isinstance(error, asyncio.CancelledError):
        return "cancelled"
    return type(error).__name__
