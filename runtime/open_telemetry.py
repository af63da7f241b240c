"""Makes spans with OpenTelemetry's SDK. Only processes whose traces are on import this module."""

import logging
import os
import socket
import threading
import time
from collections.abc import Sequence

import structlog
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import (
    BatchSpanProcessor,
    ConsoleSpanExporter,
    SpanExporter,
    SpanExportResult,
)
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
    set_span_in_context,
)
from opentelemetry.trace import Span as OtelSpan

from tickertape.runtime.tracing import Attributes, Kind, Span, TraceContext
from tickertape.runtime.version import installed_version

logger = structlog.get_logger()

_SCOPE = "tickertape"
_KINDS: dict[Kind, SpanKind] = {
    "internal": SpanKind.INTERNAL,
    "server": SpanKind.SERVER,
    "client": SpanKind.CLIENT,
    "consumer": SpanKind.CONSUMER,
}
# Service managers wait ten seconds longer than a drain may take.
_CLOSE_LIMIT_S = 5.0


class OpenTelemetryTracer:
    """A Tracer whose spans go to the exporters in batches, from a thread of each exporter.

    The variables OTEL_TRACES_SAMPLER, OTEL_BSP_*, OTEL_SPAN_* and OTEL_RESOURCE_ATTRIBUTES apply.
    """

    def __init__(
        self, service: str, exporters: Sequence[SpanExporter], *, has_gen_ai: bool = False
    ) -> None:
        self.has_gen_ai = has_gen_ai
        # Of an unreachable collector, the library would log each try, with its address.
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
        self._provider = TracerProvider(resource=_resource(service), shutdown_on_exit=False)
        for exporter in exporters:
            self._provider.add_span_processor(BatchSpanProcessor(_Reported(exporter)))
        self._tracer = self._provider.get_tracer(_SCOPE, installed_version())

    def begin(
        self,
        name: str,
        *,
        kind: Kind = "internal",
        parent: TraceContext | None = None,
        attributes: Attributes | None = None,
        link: TraceContext | None = None,
        ago_s: float = 0.0,
    ) -> Span:
        """Begin a span; see Tracer."""
        return _Span(
            self._tracer.start_span(
                name,
                # Never a context of the library's own, which FastAPI or a host application may set.
                _parent_of(parent),
                kind=_KINDS[kind],
                attributes=attributes,
                links=[Link(_remote(link))] if link is not None else [],
                start_time=time.time_ns() - int(ago_s * 1e9) if ago_s > 0 else None,
            )
        )

    def flush(self) -> None:
        """Send all spans that have ended; blocks."""
        self._provider.force_flush()

    def close(self) -> None:
        """Send what is left, for a few seconds at most; blocks."""
        # A daemon, because a collector that hangs must not keep the process.
        closing = threading.Thread(target=self._provider.shutdown, name="traces", daemon=True)
        closing.start()
        closing.join(_CLOSE_LIMIT_S)
        if closing.is_alive():
            logger.warning("traces are lost", reason="the collector does not answer")


class _Span:
    def __init__(self, span: OtelSpan) -> None:
        self._span = span
        self._context: TraceContext | None = None

    @property
    def context(self) -> TraceContext:
        if self._context is None:
            self._context = self._own_context()
        return self._context

    def _own_context(self) -> TraceContext:
        context = self._span.get_span_context()
        return TraceContext(
            f"{context.trace_id:032x}",
            f"{context.span_id:016x}",
            int(context.trace_flags),
            context.trace_state.to_header(),
        )

    def note(self, attributes: Attributes) -> None:
        self._span.set_attributes(attributes)

    def end(self, error: str | None = None) -> None:
        if error is not None:
            self._span.set_attribute("error.type", error)
            self._span.set_status(Status(StatusCode.ERROR))
        self._span.end()


class _Reported(SpanExporter):
    """An exporter whose failures are one line of the log, and its recovery another one."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._fails = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self._exporter.export(spans)
        fails = result is not SpanExportResult.SUCCESS
        if fails and not self._fails:
            logger.warning(
                "traces are not delivered",
                spans=len(spans),
                fix="check OTEL_EXPORTER_OTLP_ENDPOINT and whether the collector listens there",
            )
        elif self._fails and not fails:
            logger.info("traces are delivered again")
        self._fails = fails
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()


def make_exporter(name: str) -> SpanExporter:
    """The exporter of a name in OTEL_TRACES_EXPORTER; its own variables apply."""
    return ConsoleSpanExporter() if name == "console" else OTLPSpanExporter()


def _resource(service: str) -> Resource:
    """Who sends the spans: what the variables say, and names of our own for the rest."""
    host = socket.gethostname().partition(".")[0]
    own = {
        "service.name": service,
        "service.version": installed_version(),
        "service.instance.id": f"{host}-{os.getpid()}",
    }
    given = OTELResourceDetector().detect().attributes
    return Resource.create({name: value for name, value in own.items() if name not in given})


def _parent_of(context: TraceContext | None) -> Context:
    if context is None:
        return Context()
    return set_span_in_context(NonRecordingSpan(_remote(context)), Context())


def _remote(context: TraceContext) -> SpanContext:
    return SpanContext(
        int(context.trace_id, 16),
        int(context.span_id, 16),
        is_remote=True,
        trace_flags=TraceFlags(context.flags),
        trace_state=TraceState.from_header([context.state]) if context.state else None,
    )
