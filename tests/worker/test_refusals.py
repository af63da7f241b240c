"""A refusal is the same wherever it stands: in an HTTP status or inside a stream, in any shape.

Over real HTTP to the verdict, and over a real queue to the count of calls and the words in the log.
"""

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from tests.support.reading import KEY, QUESTION, Reading, read
from tests.support.rig import Rig, open_rig, working
from tests.support.script import Chunk, Raw, Script, Status, Step, Text, answer
from tests.support.upstream import ScriptedUpstream
from tickertape.runtime.settings import Settings
from tickertape.worker.upstream.client import Upstream
from tickertape.worker.upstream.errors import RateLimited, Rejected, UpstreamError, UpstreamFault

SAID = f"Too long: {QUESTION['content']} with {KEY}"
SHOWN = "Too long: […] with […]"


def event(data: Any, *lines: str) -> Raw:
    return Raw("\n".join((*lines, f"data: {json.dumps(data)}", "", "")).encode())


Shape = Callable[[Any, str], Step]
# How upstreams say a code and a message inside a stream that began with a 200.
SHAPES: dict[str, Shape] = {
    "code": lambda code, text: event({"error": {"code": code, "message": text}}),
    "type": lambda code, text: event({"error": {"type": code, "message": text}}),
    # langchain4j#2585
    "status_code": lambda code, text: event(
        {"error": {"message": text, "code": "failed_somehow", "status_code": code}}
    ),
    "error_type": lambda code, text: event({"error_type": code, "error_message": text}),
    "error_code": lambda code, text: event({"error_code": code, "error_msg": text}),
    "a flat event": lambda code, text: event(
        {"code": code, "message": text, "request_id": "r"}, "event:error", ":HTTP_STATUS/400"
    ),
    "a named event": lambda code, text: event(
        {"type": "error", "error": {"type": code, "message": text}}, "event: error"
    ),
    # https://github.com/ggml-org/llama.cpp/pull/16109
    "a field": lambda code, text: Raw(
        f"error: {json.dumps({'code': code, 'message': text})}\n\ndata: [DONE]\n\n".encode()
    ),
    "object": lambda code, text: event(
        {"object": "error", "message": text, "type": code, "param": None, "code": None}
    ),
    "status": lambda code, text: event({"error": {"status": code, "message": text}}),
    "next to it": lambda code, text: event({"error": {"message": text}, "status_code": code}),
    "a text": lambda code, text: event({"error": text, "code": code}),
    "a list": lambda code, text: event({"errors": [{"code": code, "message": text}]}),
    "a list of objects": lambda code, text: event([{"error": {"code": code, "message": text}}]),
    "an error in an error": lambda code, text: event(
        {"error": {"error": {"code": code, "message": text}}}
    ),
    "a choice": lambda code, text: event(
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "error",
                      "error": {"code": code, "message": text}}]}
    ),
    "beside choices": lambda code, text: event(
        {"choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": "error"}],
         "error": {"code": code, "message": text}}
    ),
}  # fmt: skip
WORDS = {
    "context_length_exceeded": 400,
    "invalid_request_error": 400,
    "invalid_api_key": 401,
    "insufficient_quota": 402,
    "rate_limit_exceeded": 429,
    "server_error": 500,
    "overloaded_error": 529,
}


Verdict = tuple[type[UpstreamError], str]


def verdict(error: UpstreamError | None) -> Verdict:
    assert error is not None
    return type(error), error.message


class RepeatedCalls:
    """One upstream that is called again and again."""

    def __init__(self, scripted: ScriptedUpstream, client: Upstream) -> None:
        self._scripted = scripted
        self._client = client

    async def verdict(self, *script: Step) -> Verdict:
        reading = Reading()
        self._scripted.enqueue(script)
        await reading.run(self._client)
        return verdict(reading.error)


@pytest.fixture
async def calls(upstream: ScriptedUpstream) -> AsyncIterator[RepeatedCalls]:
    async with Upstream(upstream.base_url, KEY) as client:
        yield RepeatedCalls(upstream, client)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
async def test_an_error_in_a_stream_is_what_it_is_with_that_status(
    calls: RepeatedCalls, shape: Shape
) -> None:
    codes: list[tuple[Any, int]] = [*WORDS.items(), ("400", 400), ("429", 429)]
    codes += [(status, status) for status in (400, 401, 402, 404, 408, 413, 422, 429, 500, 503)]
    for code, status in codes:
        refused = await calls.verdict(Status(status, {}, {"error": {"message": SAID}}))
        assert await calls.verdict(shape(code, SAID)) == refused, code
        assert refused[0] is not Rejected or SHOWN in refused[1] or status in {401, 402}


async def test_an_empty_account_is_the_same_with_a_429() -> None:
    body = {"error": {"message": SAID, "code": "insufficient_quota"}}
    for script in ([Status(429, {}, body)], [event(body)], [event({**body, "status_code": 429})]):
        kind, text = verdict((await read(script)).error)
        assert (kind, "no credit left" in text, SHOWN in text) == (Rejected, True, False)


@pytest.mark.parametrize(
    "data",
    [
        {"error": {"message": SAID}},
        {"error": SAID},
        {"error": {"code": "20012", "message": SAID}},
        {"error": {"code": None, "type": None}},
        {"error_message": SAID},
    ],
)
async def test_an_error_that_nobody_knows_is_a_fault_without_its_text(data: Any) -> None:
    found = verdict((await read([Text("be"), event(data)])).error)
    assert found == (UpstreamFault, "The upstream reported an error in its stream.")


async def test_an_event_that_is_an_error_by_its_name_need_not_be_json() -> None:
    raw = Raw(b"event: error\ndata: the secret of the cat\n\n")
    assert verdict((await read([raw])).error)[0] is UpstreamFault


@pytest.mark.parametrize(
    "chunk",
    [
        {"choices": [], "prompt_filter_results": [{"prompt_index": 0}]},
        {"choices": [], "usage": {"prompt_tokens": 1}, "error": None},
        {"type": "status", "message": "Searching the web"},
        {"base_resp": {"status_code": 0, "status_msg": ""}},
        {},
    ],
)
async def test_an_object_that_is_not_an_error_does_not_end_the_answer(
    chunk: dict[str, Any],
) -> None:
    found = await read([Chunk(chunk), *answer("all of it")])
    assert (found.text, found.error) == ("all of it", None)


GEMINI = [
    {
        "error": {
            "code": 429,
            "message": "Resource has been exhausted (e.g. check quota).",
            "status": "RESOURCE_EXHAUSTED",
            "details": [
                {"@type": "type.googleapis.com/google.rpc.Help", "links": []},
                {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "39s"},
            ],
        }
    }
]


async def test_gemini_s_retry_info_is_a_retry_after_in_a_body_and_in_a_stream() -> None:
    for status in (Status(429, {}, json.dumps(GEMINI)), event(GEMINI[0])):
        found = (await read([status])).error
        assert type(found) is RateLimited
        assert found.retry_after_s == 39
    found = (await read([Status(429, {"retry-after": "7"}, json.dumps(GEMINI))])).error
    assert found is not None
    assert found.retry_after_s == 7


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        ([{"error": {"code": 400, "message": SAID, "status": "INVALID_ARGUMENT"}}], SHOWN),
        ({"errors": [{"message": SAID}]}, SHOWN),
        ({"errors": SAID}, SHOWN),
        ({"detail": {"message": SAID}}, SHOWN),
        ({"detail": {"error": {"message": SAID}}}, SHOWN),
        ({"Message": SAID}, SHOWN),
        ({"error": {"error": SAID}}, SHOWN),
        ({"error": {"error": {"message": SAID}}}, SHOWN),
        ({"error": {"message": "Provider returned error", "code": 400, "metadata": {
            "raw": json.dumps({"error": {"message": SAID}}), "provider_name": "Somebody"}}},
         f"Provider returned error: {SHOWN}"),
        ({"error": None, "message": SAID}, SHOWN),
        ({"error": "Bad Request", "message": SAID}, SHOWN),
        ({"error": {"code": 1}, "message": SAID}, SHOWN),
        ({"error": {}}, "The upstream answered 400."),
    ],
)  # fmt: skip
async def test_the_body_of_an_http_error_is_read_in_every_shape(body: Any, shown: str) -> None:
    found = await read([Status(400, {}, json.dumps(body))])
    assert verdict(found.error) == (Rejected, shown)


@pytest.mark.parametrize(
    "body",
    [
        "data: %s\n\ndata: [DONE]\n\n",
        "event: error\ndata: %s",
        "\n%s\n",
    ],
)
async def test_an_http_error_written_as_a_stream_is_read_all_the_same(body: str) -> None:
    said = json.dumps({"error": {"message": SAID}})
    found = await read([Status(400, {"content-type": "text/event-stream"}, body % said)])
    assert verdict(found.error) == (Rejected, SHOWN)


@pytest.fixture
async def rig(redis_url: str, upstream: ScriptedUpstream) -> AsyncIterator[Rig]:
    fields = {"openai_base_url": upstream.base_url, "openai_model": "m", "openai_api_key": KEY}
    settings = Settings.model_validate(fields)
    async with open_rig(redis_url, settings) as running, working(redis_url, settings):
        yield running


async def test_a_refusal_in_a_stream_costs_one_call_and_its_words_reach_the_log(
    rig: Rig, upstream: ScriptedUpstream
) -> None:
    scripts: list[Script] = [[shape("invalid_request_error", SAID)] for shape in SHAPES.values()]
    scripts += [[shape(400, SAID)] for shape in SHAPES.values()]
    scripts.append([Status(400, {}, {"error": {"message": SAID}})])
    for calls, script in enumerate(scripts, 1):
        upstream.enqueue(script)
        answered = await rig.ended(await rig.ask(QUESTION["content"]))
        assert answered.end == {
            "code": "upstream_rejected",
            "message": SHOWN,
            "retryable": False,
        }
        assert len(upstream.calls) == calls


@pytest.mark.parametrize(
    ("code", "reason"),
    [("rate_limit_error", "upstream_rate_limited"), ("overloaded_error", "upstream_error")],
)
async def test_what_may_pass_is_tried_again_whether_it_has_a_status_or_stands_in_a_stream(
    rig: Rig, upstream: ScriptedUpstream, code: str, reason: str
) -> None:
    refused = Status(WORDS.get(code, 429), {}, {"error": {"type": code}})
    for calls, step in ((2, refused), (4, event({"error": {"type": code}}))):
        upstream.enqueue([step])
        request_id = await rig.ask()
        assert "".join((await rig.ended(request_id)).text) == "Hello, world."
        assert len(upstream.calls) == calls
        entries = await rig.entries(request_id)
        assert [entry.kind for entry in entries][:3] == ["queued", "started", "started"]
        assert entries[2].data.get("reason", reason) == reason
