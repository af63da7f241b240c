"""Everything an upstream can do wrong, over real HTTP, and the failure it becomes."""

import asyncio
import traceback
from typing import Any

import pytest

from tests.support.reading import KEY, PATIENT, QUESTION, Reading, read
from tests.support.script import (
    Comment,
    Cut,
    Done,
    Headers,
    Pause,
    Raw,
    Reset,
    Script,
    Status,
    Step,
    Text,
    Usage,
    Wait,
    answer,
    error_body,
    rate_limited,
)
from tests.support.upstream import ScriptedUpstream
from tickertape.worker.upstream.answer_stream import Limits
from tickertape.worker.upstream.client import Upstream
from tickertape.worker.upstream.errors import (
    RateLimited,
    Rejected,
    Truncated,
    Unreachable,
    UpstreamError,
    UpstreamFault,
    UpstreamGarbage,
)

FOREVER = Pause(3600)  # until the client leaves


async def outcome(*script: Step, limits: Limits = PATIENT) -> Reading:
    return await read(script, limits)


async def outcome_against(server: asyncio.Server) -> Reading:
    found = Reading()
    port = server.sockets[0].getsockname()[1]
    async with Upstream(f"http://127.0.0.1:{port}/v1") as client:
        await found.run(client)
    return found


@pytest.mark.parametrize("ending", [[], [Done()], [Usage(1, 2), Done()], [Comment()]])
async def test_an_end_without_a_finish_reason_is_never_complete(ending: Script) -> None:
    found = await outcome(Text("half"), *ending)
    assert type(found.error) is Truncated
    assert found.text == "half"


async def test_a_connection_that_is_cut_in_mid_stream_is_truncated() -> None:
    found = await outcome(Text("half"), Cut())
    assert (found.text, type(found.error)) == ("half", Truncated)


async def test_a_connection_that_is_reset_in_mid_stream_is_truncated(
    upstream: ScriptedUpstream,
) -> None:
    gate = asyncio.Event()  # a reset could overtake the text
    upstream.enqueue([Text("half"), Wait(gate), Reset()])
    found = Reading(on_text=gate.set)
    async with Upstream(upstream.base_url) as client:
        await found.run(client)
    assert (found.text, type(found.error)) == ("half", Truncated)


@pytest.mark.parametrize("breaking", [Cut(), Reset()])
async def test_a_connection_that_breaks_after_the_head_is_truncated(breaking: Any) -> None:
    found = await outcome(Headers(), Comment(), breaking)
    assert type(found.error) is Truncated


async def test_an_upstream_that_hangs_up_instead_of_answering_is_unreachable(
    upstream: ScriptedUpstream,
) -> None:
    upstream.script = [Reset()]
    found = Reading()
    async with Upstream(upstream.base_url) as client:
        await found.run(client)
    assert isinstance(found.error, Unreachable)
    assert found.error.message == "The upstream closed the connection instead of answering."
    assert len(upstream.calls) == 2


async def test_an_upstream_that_is_down_is_unreachable(upstream: ScriptedUpstream) -> None:
    await upstream.close()
    found = Reading()
    async with Upstream(upstream.base_url, KEY) as client:
        await found.run(client)
    assert type(found.error) is Unreachable
    assert found.error.message == "The upstream cannot be reached."


async def test_a_rate_limit_has_the_pause_to_wait() -> None:
    found = await outcome(*rate_limited("7"))
    assert type(found.error) is RateLimited
    assert found.error.retry_after_s == 7


async def test_an_empty_account_is_not_a_rate_limit() -> None:
    body = error_body("You exceeded your current quota", "insufficient_quota")
    found = await outcome(Status(429, {}, body))
    assert type(found.error) is Rejected
    assert "no credit left" in found.error.message
    assert found.error.detail == "You exceeded your current quota"


@pytest.mark.parametrize("status", [500, 502, 503, 529])
@pytest.mark.parametrize("body", ["<html>Bad gateway</html>", error_body("oops", None), ""])
async def test_a_server_error_is_reported_without_its_body(status: int, body: Any) -> None:
    found = await outcome(Status(status, {"retry-after": "2"}, body))
    assert type(found.error) is UpstreamFault
    assert found.error.message == f"The upstream answered {status}."
    assert found.error.retry_after_s == 2


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422])
async def test_a_rejection_passes_on_why_without_key_and_prompt(status: int) -> None:
    said = f"No: key {KEY} asked for '{QUESTION['content']}' with Bearer abcdef"
    found = await outcome(Status(status, {}, error_body(said, None)))
    assert type(found.error) is Rejected
    passed_on = "No: key […] asked for '[…]' with Bearer […]"
    assert found.error.message.endswith(passed_on) == (status != 401)
    assert KEY not in found.error.message


async def test_an_error_page_is_not_passed_on() -> None:
    found = await outcome(Status(404, {}, "<html>nginx 1.2.3</html>"))
    assert type(found.error) is Rejected
    assert "nginx" not in found.error.message


@pytest.mark.parametrize("status", [401, 500, 200])
async def test_no_traceback_leads_to_the_request_with_its_key(status: int) -> None:
    found = await outcome(Status(status, {}, "<html>"))
    assert found.error is not None
    shown = "".join(traceback.format_exception(found.error))
    assert KEY not in shown
    assert found.error.__cause__ is None
    assert found.error.__suppress_context__ or found.error.__context__ is None


async def test_a_stream_without_a_content_type_is_read() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        choice = b'{"index":0,"delta":{"content":"hi"},"finish_reason":"stop"}'
        writer.write(b'HTTP/1.1 200 OK\r\n\r\ndata: {"choices":[%b]}\n\n' % choice)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        found = await outcome_against(server)
    assert (found.text, found.error) == ("hi", None)


@pytest.mark.parametrize(
    ("broken", "expected"),
    [
        (b"Content-Length: 99\r\n\r\n{", Truncated),
        (b"Content-Length: 3\r\nContent-Encoding: gzip\r\n\r\nabc", UpstreamGarbage),
    ],
)
async def test_an_error_whose_body_cannot_be_read_may_be_tried_again(
    broken: bytes, expected: type[UpstreamError]
) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 503 Busy\r\nConnection: close\r\n" + broken)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        found = await outcome_against(server)
    assert type(found.error) is expected
    assert KEY not in "".join(traceback.format_exception(found.error))


@pytest.mark.parametrize("head", [b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 OK\r\n\r\n"])
async def test_a_server_that_speaks_no_http_is_garbage(head: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        await reader.read()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        found = await outcome_against(server)
    assert type(found.error) is UpstreamGarbage


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"data: {broken\n\n", UpstreamGarbage),
        (b"data: [1]\n\n", UpstreamGarbage),
        (b'data: {"error": {"message": "secret", "code": 500}}\n\n', UpstreamFault),
        (b'data: {"error": {"code": 429}}\n\n', RateLimited),
        (b'event: error\ndata: {"type": "error", "error": {"type": "overloaded_error"}}\n\n',
         UpstreamFault),
        (b"<html>not a stream</html>", Truncated),
        (b'data: {"choices": [{"index": 0, "delta": {"content": "unfinished"', Truncated),
        (b"data: " + b"x" * 9_000_000, UpstreamGarbage),
    ],
)  # fmt: skip
async def test_garbage_in_the_stream_fails_after_what_came_before_it(
    raw: bytes, expected: type[UpstreamError]
) -> None:
    found = await outcome(Text("be"), Text("fore"), Raw(raw))
    assert type(found.error) is expected
    assert found.text == "before"
    assert "secret" not in found.error.message


async def test_text_and_garbage_in_one_segment_are_both_reported() -> None:
    chunk = b'data: {"choices":[{"index":0,"delta":{"content":"before"}}]}\n\n'
    found = await outcome(Raw(chunk + b"data: {broken\n\n" + chunk))
    assert (found.text, type(found.error)) == ("before", UpstreamGarbage)


async def test_a_prompt_that_cannot_be_encoded_is_rejected() -> None:
    broken = {"model": "m", "messages": [{"role": "user", "content": "\ud800"}]}
    found = await read(answer("never"), payload=broken)
    assert type(found.error) is Rejected
