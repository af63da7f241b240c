"""The SDK makes the first call of an upstream. Later ones differ from it in their body alone."""

import asyncio
import gzip

import pytest

from tests.support.raw_upstream import upstream_that
from tests.support.reading import KEY, PAYLOAD, Reading
from tests.support.script import Headers, Reset, Script, Status, answer, bytes_of, rate_limited
from tests.support.upstream import ScriptedUpstream
from tickertape.worker.upstream.client import Upstream
from tickertape.worker.upstream.errors import Unreachable

ENDS: dict[str, Script] = {
    "401": [Status(401, {}, {"error": {"message": f"no such key: {KEY}"}})],
    "429": rate_limited("3"),
    "500": [Status(500, {}, "<html>")],
    "redirect": [Status(307, {"location": "http://127.0.0.1:1/v1"}, "")],
    "reset": [Headers(), Reset()],
}


async def called(client: Upstream, **more: str) -> Reading:
    reading = Reading()
    async with asyncio.timeout(20):
        await reading.run(client, payload=PAYLOAD | more)
    return reading


async def test_a_later_call_has_the_address_and_headers_of_the_first_and_a_body_of_its_own(
    upstream: ScriptedUpstream,
) -> None:
    async with Upstream(upstream.base_url, KEY) as client:
        for model in ("one", "another model"):
            assert (await called(client, model=model)).text == "Hello, world."
    first, later = upstream.calls
    assert (later.path, later.has_authorization) == (first.path, True)
    assert later.body == first.body | {"model": "another model"}
    lengths = [int(call.headers["content-length"]) for call in (first, later)]
    assert lengths[1] - lengths[0] == len("another model") - len("one")
    assert first.headers == {**later.headers, "content-length": str(lengths[0])}


@pytest.mark.parametrize("name", ENDS)
async def test_a_later_call_that_is_refused_or_cut_off_has_the_error_of_a_first_one(
    upstream: ScriptedUpstream, name: str
) -> None:
    script = ENDS[name]
    async with Upstream(upstream.base_url, KEY) as client, Upstream(upstream.base_url, KEY) as new:
        await called(client)
        upstream.enqueue(script, script)
        errors = [(await called(each)).error for each in (new, client)]
    first, later = ((type(each), str(each), vars(each)) for each in errors)
    assert first == later
    assert KEY not in str(errors)


async def test_a_compressed_answer_to_a_later_call_is_read_and_its_cookie_is_sent_back() -> None:
    packed = gzip.compress(b"".join(map(bytes_of, answer("packed"))))
    heads: list[bytes] = []

    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # The bodies of the calls are JSON without a line end, in front of the next head.
        for _ in range(3):
            head = b"Content-Type: text/event-stream\r\nContent-Encoding: gzip\r\n"
            cookie = b"Set-Cookie: route=%d; Path=/\r\n" % len(heads)
            length = b"Content-Length: %d\r\n\r\n" % len(packed)
            writer.write(b"HTTP/1.1 200 OK\r\n" + head + cookie + length + packed)
            heads.append(await reader.readuntil(b"\r\n\r\n"))

    async with upstream_that(say) as url, Upstream(url) as client:
        texts = [(await called(client)).text for _ in range(3)]
    assert texts == ["packed"] * 3
    assert [b"route=0" in heads[0], b"route=1" in heads[1]] == [True, True]


async def test_a_server_that_went_away_since_the_first_call_is_unreachable() -> None:
    async with ScriptedUpstream() as scripted, Upstream(scripted.base_url) as client:
        await called(client)
        await scripted.close()
        assert isinstance((await called(client)).error, Unreachable)
