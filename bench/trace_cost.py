"""What traces cost a request: `python -m bench.trace_cost`.

CPU time of all spans of one request in the API and in the worker, the least of several rounds:
without a tracer, with one whose caller samples nothing, and with one that exports to nowhere. The
thread that exports is counted, and the network is not. Then whole submits, `POST /chat` to the 202,
to an API without traces and to one with all of them, in turn.
"""

import asyncio
import math
import time
from collections.abc import Sequence

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from bench.submit_cost import compare_submits
from tests.support.scripted import OfflineUpstream, lease
from tests.support.servers import in_memory, valkey_server
from tickertape.api.request_trace import _CALL, CallTrace, begin_submit, trace_reader
from tickertape.broker.submission import Submission, Submitted
from tickertape.runtime import logs
from tickertape.runtime.open_telemetry import OpenTelemetryTracer
from tickertape.runtime.tracing import TraceContext, Tracer
from tickertape.worker.attempt_trace import begin_attempt
from tickertape.worker.outcome import Completed
from tickertape.worker.source import UpstreamSource
from tickertape.worker.upstream.tally import Tally

_ROUNDS, _REQUESTS = 20, 200
_TRACE, _SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


class _Nowhere(SpanExporter):
    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return SpanExportResult.SUCCESS


def _request(tracer: Tracer | None, sampled: int, upstream: OfflineUpstream) -> None:
    """All that a request does for its trace."""
    if tracer is not None:
        headers = [(b"traceparent", f"00-{_TRACE}-{_SPAN}-{sampled:02x}".encode())]
        _CALL.set(CallTrace(tracer, TraceContext.from_headers(headers)))
    submission = _SUBMISSION
    with begin_submit("native", "public") as span:
        submission = span.marked(submission)
        span.accepted(Submitted("r0_a", is_new=True))
    closed = trace_reader("r0_a", "native", 0)
    attempt = begin_attempt(tracer, lease(trace=submission.trace))
    body = {"model": "m"}
    with attempt.call(UpstreamSource(upstream).origin(body), body, Tally()):
        attempt.first_output()
    attempt.concluded(Completed())
    attempt.followed_by(None, None)
    attempt.end(is_cancelled=False)
    if closed is not None:
        closed()


_SUBMISSION = Submission(tenant="public", payload={"messages": []})


def _cost_us(tracer: Tracer | None, sampled: int = 1) -> float:
    upstream, least = OfflineUpstream([]), math.inf
    for _ in range(_ROUNDS):
        begun_s = time.process_time()
        for _ in range(_REQUESTS):
            _request(tracer, sampled, upstream)
        least = min(least, (time.process_time() - begun_s) / _REQUESTS * 1e6)
    return least


def main() -> None:
    """Print the table."""
    logs.configure("warning")
    lease_us = _lease_us()
    print(f"traces off            {_cost_us(None) - lease_us:8.2f} us of CPU for each request")
    tracer = OpenTelemetryTracer("bench", [_Nowhere()], has_gen_ai=True)
    print(f"on, not sampled       {_cost_us(tracer, 0) - lease_us:8.2f} us")
    print(f"on, sampled           {_cost_us(tracer) - lease_us:8.2f} us, six spans")
    _CALL.set(None)
    with valkey_server(parent=in_memory()) as server:
        off_us, on_us, ratio = asyncio.run(
            compare_submits(server.url, settle=tracer.flush, tracer=tracer)
        )
    print(f"whole submit          off {off_us:.0f} us, on {on_us:.0f} us, ratio {ratio:.3f}")
    tracer.close()


def _lease_us() -> float:
    """What the bench itself adds."""
    least = math.inf
    for _ in range(_ROUNDS):
        begun_s = time.process_time()
        for _ in range(_REQUESTS):
            lease(trace="")
            Tally()
            Submitted("r0_a", is_new=True)
        least = min(least, (time.process_time() - begun_s) / _REQUESTS * 1e6)
    return least


if __name__ == "__main__":
    main()
