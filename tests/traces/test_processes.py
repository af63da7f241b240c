"""Traces of an API and workers as processes of their own, as a real collector receives them."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator

import pytest

from tests.support.callers import Caller
from tests.support.deployment import Deployment, MakeDeployment
from tests.support.programs import environment
from tests.support.script import Text, Wait, answer
from tests.support.spans import Collector, collecting
from tests.support.sse import collect
from tests.support.upstream import ScriptedUpstream
from tests.support.wait import wait_until

pytestmark = pytest.mark.slow

TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
HEADERS = {"traceparent": f"00-{TRACE}-{CALLER}-01", "tracestate": "vendor=1"}


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    async with collecting() as running:
        yield running


@pytest.fixture
def traced(make_deployment: MakeDeployment, collector: Collector) -> Deployment:
    """Processes that export at once, where the test says nothing else."""
    return make_deployment(
        OTEL_EXPORTER_OTLP_ENDPOINT=collector.url,
        OTEL_BSP_SCHEDULE_DELAY="50",
        TICKERTAPE_LEASE_S="1",
    )


async def submit(caller: Caller) -> str:
    submitted = await caller.client.post("/chat", json={"message": "hi"}, headers=HEADERS)
    return str(submitted.json()["request_id"])


async def test_one_trace_leads_from_the_submit_over_two_processes_to_the_reader(
    traced: Deployment, collector: Collector
) -> None:
    (_, url), _ = await asyncio.gather(traced.running_api(), traced.running_worker())
    async with Caller(url) as caller:
        await collect(caller.stream_url(await submit(caller)))
    await wait_until(lambda: len(collector.seen) >= 6, description="all spans")
    assert {(each.trace_id, each.state) for each in collector.seen} == {(TRACE, "vendor=1")}
    submitted, attempt = collector.one("submit"), collector.one("attempt")
    call = collector.one("upstream call")
    assert {each.name: (each.service, each.parent_id) for each in collector.seen} == {
        "submit": ("tickertape-api", CALLER),
        "read": ("tickertape-api", submitted.span_id),
        "queue wait": ("tickertape-worker", submitted.span_id),
        "attempt": ("tickertape-worker", submitted.span_id),
        "upstream call": ("tickertape-worker", attempt.span_id),
        "first token": ("tickertape-worker", call.span_id),
    }


async def test_a_takeover_is_a_second_attempt_of_the_same_trace(
    traced: Deployment, collector: Collector, upstream: ScriptedUpstream
) -> None:
    upstream.enqueue([Text("half"), Wait(asyncio.Event())])
    upstream.script = answer("whole")
    (_, url), victim = await asyncio.gather(traced.running_api(), traced.running_worker())
    async with Caller(url) as caller:
        request_id = await submit(caller)
        await wait_until(lambda: collector.named("first token"), description="the first output")
        await victim.kill()
        await traced.running_worker()
        await collect(caller.stream_url(request_id))
    await wait_until(lambda: collector.named("attempt"), description="the second attempt")
    attempt = collector.one("attempt")
    assert (attempt.trace_id, attempt.parent_id) == (TRACE, collector.one("submit").span_id)
    assert attempt.attributes["tickertape.attempt"] == 2
    assert attempt.attributes["tickertape.crashes"] == 1
    takeover = collector.one("takeover")
    assert (takeover.trace_id, takeover.parent_id) == (TRACE, attempt.parent_id)
    assert takeover.ended_ns - takeover.begun_ns >= 0.5e9, "the lease of one second ran out"
    assert attempt.attributes["tickertape.outcome"] == "completed"
    calls = [each.parent_id for each in collector.named("upstream call")]
    assert calls == [attempt.span_id], "a killed process cannot send the spans that it had open"
    first, second = collector.named("first token")
    assert first.trace_id == second.trace_id == TRACE


async def test_processes_that_drain_send_the_spans_that_they_have_not_sent(
    make_deployment: MakeDeployment, collector: Collector
) -> None:
    deployment = make_deployment(
        OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, OTEL_BSP_SCHEDULE_DELAY="600000"
    )
    (api, url), worker = await asyncio.gather(
        deployment.running_api(processes=2), deployment.running_worker()
    )
    async with Caller(url) as caller:
        await collect(caller.stream_url(await submit(caller)))
    assert collector.seen == []
    for program in (api, worker):
        program.process.terminate()
        assert await program.ended() == 0
    assert {each.name for each in collector.seen} == {
        "submit", "read", "queue wait", "attempt", "upstream call", "first token",
    }  # fmt: skip


async def test_a_collector_that_is_away_delays_no_answer_and_no_drain(
    make_deployment: MakeDeployment,
) -> None:
    deployment = make_deployment(
        OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9", OTEL_BSP_SCHEDULE_DELAY="10"
    )
    (api, url), worker = await asyncio.gather(deployment.running_api(), deployment.running_worker())
    async with Caller(url) as caller:
        events = await collect(caller.stream_url(await submit(caller)))
    assert events[-1].kind == "completed"
    await api.logged("traces are not delivered")
    for program in (api, worker):
        program.process.terminate()
        assert await program.ended() == 0


LOADED = """
import sys
import tickertape.api.serving.server, tickertape.cli.serve, tickertape.worker.main
from tickertape.runtime.trace_settings import open_tracer
assert open_tracer("tickertape-api") is None
only_for_traces = ("opentelemetry.sdk.trace", "opentelemetry.exporter", "google.protobuf")
print([name for name in sys.modules if name.startswith(only_for_traces)])
"""


def test_a_process_without_traces_loads_nothing_that_makes_or_sends_them() -> None:
    """redis-py loads the SDK's metrics wherever the SDK is installed, which is not in our hands."""
    bare = {name: value for name, value in environment().items() if not name.startswith("OTEL_")}
    run = subprocess.run(
        [sys.executable, "-c", LOADED], env=bare, capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "[]"
