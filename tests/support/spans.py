"""The spans that processes of a test have sent: in memory, or to a collector over OTLP/HTTP."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.support.connection import Connection
from tickertape.runtime.open_telemetry import OpenTelemetryTracer


@dataclass(frozen=True)
class Seen:
    """One span as a collector sees it. Times are in ns."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str
    kind: str
    begun_ns: int
    ended_ns: int
    attributes: Mapping[str, Any]
    is_error: bool = False
    service: str = ""
    state: str = ""
    links: tuple[str, ...] = ()


@dataclass
class Spans:
    """Spans by name, in the order in which they ended."""

    seen: list[Seen] = field(default_factory=list)

    def named(self, name: str) -> list[Seen]:
        return [each for each in self.seen if each.name == name]

    def one(self, name: str) -> Seen:
        """The only span of this name."""
        (found,) = self.named(name)
        return found


class Recorder(Spans):
    """A tracer whose spans stay in memory. `collect` reads those that have ended."""

    def __init__(self, *, has_gen_ai: bool = False) -> None:
        super().__init__()
        self._exporter = InMemorySpanExporter()
        self.tracer = OpenTelemetryTracer("recorded", [self._exporter], has_gen_ai=has_gen_ai)

    def collect(self) -> list[Seen]:
        self.tracer.flush()
        self.seen = [_recorded(each) for each in self._exporter.get_finished_spans()]
        return self.seen

    def has(self, *names: str) -> bool:
        """Whether spans of all these names have ended."""
        return {*names} <= {each.name for each in self.collect()}


@contextlib.contextmanager
def recording(*, has_gen_ai: bool = False) -> Iterator[Recorder]:
    """A recorder whose thread ends with the block."""
    recorder = Recorder(has_gen_ai=has_gen_ai)
    try:
        yield recorder
    finally:
        recorder.tracer.close()


class Collector(Spans):
    """A collector: takes batches of spans over OTLP/HTTP with protobuf. `status` refuses them."""

    def __init__(self) -> None:
        super().__init__()
        self.status = 200
        self.batches = 0
        self.url = ""

    async def serve(self, connection: Connection) -> None:
        """Answer the batches of one connection."""
        while (request := await connection.read_request()) is not None:
            assert (request.method, request.path) == ("POST", "/v1/traces")
            assert request.headers["content-type"] == "application/x-protobuf"
            self.batches += 1
            if self.status != 200:
                connection.respond(self.status, {}, b"")
                continue
            sent = ExportTraceServiceRequest.FromString(request.body)
            self.seen += [
                _sent(span, _values(resource.resource.attributes))
                for resource in sent.resource_spans
                for scope in resource.scope_spans
                for span in scope.spans
            ]
            body = ExportTraceServiceResponse().SerializeToString()
            connection.respond(200, {"content-type": "application/x-protobuf"}, body)


@contextlib.asynccontextmanager
async def collecting() -> AsyncIterator[Collector]:
    """A collector on a random port for the length of the block."""
    collector, live = Collector(), set[Connection]()
    server = await asyncio.get_running_loop().create_server(
        lambda: Connection(collector.serve, live), "127.0.0.1", 0
    )
    collector.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield collector
    finally:
        server.close()
        await asyncio.gather(*(connection.abort() for connection in [*live]))


def _recorded(span: ReadableSpan) -> Seen:
    context = span.get_span_context()
    assert context is not None
    return Seen(
        name=span.name,
        trace_id=f"{context.trace_id:032x}",
        span_id=f"{context.span_id:016x}",
        parent_id=f"{span.parent.span_id:016x}" if span.parent else "",
        kind=span.kind.name.lower(),
        begun_ns=span.start_time or 0,
        ended_ns=span.end_time or 0,
        attributes=dict(span.attributes or {}),
        is_error=not span.status.is_ok,
        state=context.trace_state.to_header(),
        links=tuple(f"{link.context.trace_id:032x}" for link in span.links),
    )


def _sent(span: Any, resource: dict[str, Any]) -> Seen:
    kinds = ["unspecified", "internal", "server", "client", "producer", "consumer"]
    return Seen(
        name=span.name,
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        kind=kinds[span.kind],
        begun_ns=span.start_time_unix_nano,
        ended_ns=span.end_time_unix_nano,
        attributes=_values(span.attributes),
        is_error=span.status.code == 2,
        service=resource["service.name"],
        state=span.trace_state,
        links=tuple(link.trace_id.hex() for link in span.links),
    )


def _values(attributes: Any) -> dict[str, Any]:
    return {each.key: _value(each.value) for each in attributes}


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return tuple(_value(each) for each in value.array_value.values)
    return getattr(value, kind)
