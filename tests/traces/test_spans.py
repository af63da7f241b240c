"""The spans of a request in an API and a worker, on every wire and at every end."""

import asyncio
from pathlib import Path

import httpx2

from tests.support.given_settings import GivenSettings
from tests.support.rig import open_rig, working
from tests.support.running_api import RunningApi, running_api
from tests.support.script import Done, Finish, Status, Text, Usage, Wait, answer, error_body
from tests.support.spans import Seen, Spans, recording
from tests.support.sse import collect
from tests.support.upstream import ScriptedUpstream
from tests.support.upstreams import two_upstreams
from tests.support.wait import wait_until
from tests.traces.traced import CALLER, CONTEXT, TRACE, traced

SECRET = "a very secret prompt"
QUESTION = [{"role": "user", "content": SECRET}]
UI_MESSAGE = {"role": "user", "parts": [{"type": "text", "text": SECRET}]}
AGUI_MESSAGE = {"id": "u", "role": "user", "content": SECRET}


async def ask_native(client: httpx2.AsyncClient) -> None:
    submitted = await client.post("/chat", json={"message": SECRET})
    await client.get(submitted.json()["stream_url"])


async def ask_raw(client: httpx2.AsyncClient) -> None:
    await client.post("/api/gpt/get", json={"message": SECRET})


async def ask_chat(client: httpx2.AsyncClient) -> None:
    body = {"model": "m", "messages": QUESTION}
    await client.post("/v1/chat/completions", json=body)


async def ask_chat_stream(client: httpx2.AsyncClient) -> None:
    body = {"model": "m", "messages": QUESTION, "stream": True}
    await client.post("/v1/chat/completions", json=body)


async def ask_response(client: httpx2.AsyncClient) -> None:
    body = {"model": "m", "input": SECRET}
    await client.post("/v1/responses", json=body)


async def ask_background(client: httpx2.AsyncClient) -> None:
    body = {"model": "m", "input": SECRET, "background": True}
    created = await client.post("/v1/responses", json=body)
    await client.get(f"/v1/responses/{created.json()['id']}", params={"stream": "true"})


async def ask_ai_sdk(client: httpx2.AsyncClient) -> None:
    body = {"id": "chat", "messages": [UI_MESSAGE]}
    await client.post("/api/chat", json=body)


async def ask_agui(client: httpx2.AsyncClient) -> None:
    await client.post("/agui", json={"threadId": "t", "runId": "r", "messages": [AGUI_MESSAGE]})


ASKS = [
    ask_native, ask_raw, ask_chat, ask_chat_stream, ask_response, ask_background, ask_ai_sdk,
    ask_agui,
]  # fmt: skip


async def test_a_request_of_each_wire_is_one_trace_from_the_callers_span_to_its_reader(
    redis_url: str, upstream: ScriptedUpstream
) -> None:
    upstream.script = answer("a secret answer")
    async with traced(redis_url, upstream) as running:
        traces = {ask.__name__: f"{number:032x}" for number, ask in enumerate(ASKS, 1)}
        for ask in ASKS:
            running.api.client.headers["tracestate"] = "vendor=1"
            running.api.client.headers["traceparent"] = f"00-{traces[ask.__name__]}-{CALLER}-01"
            await ask(running.api.client)
        await wait_until(
            lambda: (
                len([each for each in running.spans.collect() if each.name == "read"]) == len(ASKS)
            ),
            description="all readers have left",
        )
        for name, trace_id in traces.items():
            found = Spans([each for each in running.spans.seen if each.trace_id == trace_id])
            check_trace(found, name)
        assert "secret" not in str(running.spans.seen)
        assert "gen_ai." not in str(running.spans.seen), "these names may change"
    for call in upstream.calls:
        assert "traceparent" not in call.headers, "it would name the caller's trace"


def check_trace(spans: Spans, wire: str) -> None:
    submit, attempt, call = spans.one("submit"), spans.one("attempt"), spans.one("upstream call")
    assert parents(spans.seen) == {
        "submit": CALLER,
        "queue wait": submit.span_id,
        "attempt": submit.span_id,
        "upstream call": attempt.span_id,
        "first token": call.span_id,
        "read": submit.span_id,
    }, wire
    assert {each.state for each in spans.seen} == {"vendor=1"}
    assert not [each for each in spans.seen if each.is_error]
    ids = [each.attributes["tickertape.request_id"] for each in (submit, attempt)]
    assert ids == 2 * [spans.one("read").attributes["tickertape.request_id"]]
    assert attempt.attributes["tickertape.outcome"] == "completed"
    assert submit.begun_ns <= attempt.begun_ns <= call.begun_ns <= call.ended_ns
    assert call.begun_ns <= spans.one("first token").ended_ns <= attempt.ended_ns


def parents(spans: list[Seen]) -> dict[str, str]:
    return {each.name: each.parent_id for each in spans}


async def test_a_reader_in_a_trace_of_its_own_is_linked_to_that_trace(
    redis_url: str, upstream: ScriptedUpstream
) -> None:
    other = "1" * 32
    async with traced(redis_url, upstream) as running:
        submitted = await running.api.client.post("/chat", json={"message": "hi"})
        headers = {"traceparent": f"00-{other}-{CALLER}-01"}
        await running.api.client.get(submitted.json()["stream_url"], headers=headers)
        await running.ended("read")
        read, submit = running.spans.one("read"), running.spans.one("submit")
    assert (read.parent_id, read.trace_id) == (submit.span_id, submit.trace_id)
    assert (read.links, submit.parent_id) == ((other,), "")


async def test_an_sdks_second_call_reads_the_request_of_the_first_and_is_no_new_request(
    redis_url: str, upstream: ScriptedUpstream
) -> None:
    """The context of a call is no part of its body: each try of an SDK has another one."""
    async with traced(redis_url, upstream) as running:
        for count, trace_id in enumerate(["2" * 32, "3" * 32]):
            headers = {
                "traceparent": f"00-{trace_id}-{CALLER}-01",
                "x-stainless-retry-count": str(count),
            }
            body = {"model": "m", "messages": QUESTION}
            await running.api.client.post("/v1/chat/completions", json=body, headers=headers)
        await running.ended("read")
        first, second = running.spans.named("submit")
    assert (first.trace_id, second.trace_id) == ("2" * 32, "3" * 32)
    assert len(upstream.calls) == 1
    assert [each.attributes["tickertape.request.is_new"] for each in (first, second)] == [
        True,
        False,
    ]


async def test_a_refused_submit_is_a_span_with_the_code_alone(redis_url: str) -> None:
    with recording() as spans:
        async with running_api(redis_url, tenant_limit=1, tracer=spans.tracer) as api:
            await api.submit()
            body = {"message": SECRET}
            refused = await api.client.post("/chat", json=body, headers=CONTEXT)
            _, span = spans.collect()
    assert refused.status_code == 429
    assert (span.is_error, span.attributes["error.type"]) == (True, "TenantLimitReached")
    assert (span.trace_id, "tickertape.request_id" in span.attributes) == (TRACE, False)
    assert "secret" not in str(span)


async def test_a_failed_answer_is_an_attempt_with_the_code_and_no_text_of_the_upstream(
    redis_url: str, upstream: ScriptedUpstream
) -> None:
    upstream.script = [Status(400, {}, error_body(f"bad: {SECRET}", "invalid"))]
    async with traced(redis_url, upstream) as running:
        await running.api.client.get(running.api.stream_url(await running.api.submit()))
        await running.ended("attempt")
        attempt, call = running.spans.one("attempt"), running.spans.one("upstream call")
    for span in (attempt, call):
        assert (span.is_error, span.attributes["error.type"]) == (True, "upstream_rejected")
    assert attempt.attributes["tickertape.outcome"] == "failed"
    assert "secret" not in str(running.spans.seen)


async def test_an_answer_that_is_tried_again_has_a_span_for_each_attempt(
    redis_url: str, upstream: ScriptedUpstream
) -> None:
    upstream.enqueue([Status(429, {"retry-after": "0"}, error_body("slow down", "rate"))])
    async with traced(redis_url, upstream) as running:
        await collect(running.api.stream_url(await running.api.submit()))
        await wait_until(
            lambda: running.spans.collect() and len(running.spans.named("attempt")) == 2,
            description="both attempts",
        )
        first, second = running.spans.named("attempt")
    outcomes = [each.attributes["tickertape.outcome"] for each in (first, second)]
    assert outcomes == ["retried", "completed"]
    assert first.attributes["error.type"] == "upstream_rate_limited"
    assert [each.attributes["tickertape.attempt"] for each in (first, second)] == [1, 2]
    assert second.attributes["tickertape.retries"] == 1
    assert first.parent_id == second.parent_id == running.spans.one("submit").span_id


async def test_a_cancelled_answer_is_an_attempt_that_was_cancelled_and_not_an_error(
    redis_url: str, upstream: ScriptedUpstream
) -> None:
    upstream.script = [Text("half"), Wait(asyncio.Event())]
    async with traced(redis_url, upstream) as running:
        request_id = await running.api.submit()
        await wait_until(lambda: running.spans.has("first token"), description="output")
        await running.api.cancel(request_id)
        await running.ended("attempt")
        attempt, call = running.spans.one("attempt"), running.spans.one("upstream call")
    assert attempt.attributes["tickertape.outcome"] == "cancelled"
    assert not attempt.is_error
    assert call.attributes["error.type"] == "cancelled"


async def test_the_span_of_a_call_names_which_of_several_upstreams_answered(
    redis_url: str, tmp_path: Path
) -> None:
    with recording() as spans:
        async with two_upstreams(redis_url, tmp_path, tracer=spans.tracer) as system:
            system.a.script = [Status(503)]
            await system.rig.ended(await system.rig.ask())
            await wait_until(lambda: spans.has("attempt"), description="the attempt to end")
    assert spans.one("upstream call").attributes["tickertape.upstream"] == "b"


async def test_by_the_conventions_for_generative_ai_a_call_has_its_model_and_tokens(
    redis_url: str, upstream: ScriptedUpstream
) -> None:
    upstream.script = [Text("four"), Finish("stop"), Usage(7, 5), Done()]
    params = {"temperature": 0.5, "max_tokens": 9, "stop": [SECRET], "user": SECRET}
    body = {"model": "big", "messages": QUESTION, **params}
    async with traced(redis_url, upstream, has_gen_ai=True) as running:
        await running.api.client.post("/v1/chat/completions", json=body)
        await running.ended("chat big", "attempt")
        call = running.spans.one("chat big")
    waited_s = call.attributes["gen_ai.response.time_to_first_chunk"]
    assert 0 <= waited_s <= (call.ended_ns - call.begun_ns) / 1e9
    host, port = "127.0.0.1", int(upstream.base_url.split(":")[2].partition("/")[0])
    assert call.kind == "client"
    assert dict(call.attributes) == {
        "server.address": host,
        "server.port": port,
        "tickertape.upstream": "other",
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "big",
        "gen_ai.request.stream": True,
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.max_tokens": 9,
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.response.time_to_first_chunk": waited_s,
        "gen_ai.usage.input_tokens": 7,
        "gen_ai.usage.output_tokens": 5,
    }


async def test_a_caller_that_samples_nothing_leaves_no_span_anywhere(
    redis_url: str, upstream: ScriptedUpstream
) -> None:
    headers = {"traceparent": f"00-{TRACE}-{CALLER}-00"}
    async with traced(redis_url, upstream) as running:
        body = {"model": "m", "messages": QUESTION}
        answered = await running.api.client.post("/v1/chat/completions", json=body, headers=headers)
        assert answered.status_code == 200
        assert running.spans.collect() == []


async def test_a_request_of_a_process_without_traces_begins_a_trace_in_the_worker(
    redis_url: str, upstream: ScriptedUpstream
) -> None:
    fields = {"openai_base_url": upstream.base_url, "openai_model": "m"}
    with recording() as spans:
        async with (
            open_rig(redis_url) as rig,
            working(redis_url, GivenSettings.model_validate(fields), tracer=spans.tracer),
        ):
            await rig.ended(await rig.ask())
            await wait_until(lambda: spans.has("attempt"), description="the attempt")
    assert spans.one("attempt").parent_id == ""
    assert spans.one("upstream call").parent_id == spans.one("attempt").span_id
    assert not spans.named("queue wait")


async def test_without_a_tracer_a_context_of_a_caller_is_not_kept(api: RunningApi) -> None:
    submitted = await api.client.post("/chat", json={"message": "hi"}, headers=CONTEXT)
    request_id = submitted.json()["request_id"]
    record = await api.services.requests.get(request_id, "public")
    assert record.trace == ""
