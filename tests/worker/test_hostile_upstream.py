"""An upstream that redirects, floods or tells of its account harms no worker and no tenant."""

import asyncio
import contextlib
import gzip
import json
import tracemalloc
import zlib
from typing import Any

import pytest
import structlog

from tests.support.raw_upstream import upstream_that
from tests.support.reading import PATIENT, QUESTION, Reading
from tests.support.rig import open_rig, working
from tests.support.script import Status
from tests.support.upstream import ScriptedUpstream
from tickertape.broker.errors import TooLong
from tickertape.runtime.settings import Settings
from tickertape.worker.upstream.chunk_json import decode_chunk
from tickertape.worker.upstream.client import Upstream
from tickertape.worker.upstream.error_responses import ERROR_BYTES
from tickertape.worker.upstream.errors import Rejected, UpstreamError, UpstreamGarbage
from tickertape.worker.upstream.inner_names import without_inner_names

MIB = 1024 * 1024


async def failure_at(base_url: str) -> UpstreamError:
    reading = Reading()
    async with Upstream(base_url, "sk-test-0123456789") as client, asyncio.timeout(30):
        await reading.run(client, PATIENT)
    assert reading.error is not None
    return reading.error


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("by_way_of", ["another host", "the same host first"])
async def test_a_redirect_carries_no_prompt_away(
    upstream: ScriptedUpstream, status: int, by_way_of: str
) -> None:
    calls = 0

    async def redirect(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal calls
        calls += 1
        is_first = calls == 1 and by_way_of == "the same host first"
        target = "/v2/chat/completions" if is_first else f"{upstream.base_url}/chat/completions"
        head = f"HTTP/1.1 {status} Moved\r\nLocation: {target}\r\nContent-Length: 0\r\n\r\n"
        writer.write(head.encode())

    async with upstream_that(redirect) as base_url:
        error = await failure_at(base_url)
    assert type(error) is Rejected
    assert "OPENAI_BASE_URL" in error.message
    assert upstream.base_url not in error.message
    assert (calls, len(upstream.calls)) == (1, 0)


async def test_a_redirect_does_not_become_the_list_of_models(upstream: ScriptedUpstream) -> None:
    async def redirect(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        target = f"{upstream.base_url}/models"
        writer.write(
            f"HTTP/1.1 307 Moved\r\nLocation: {target}\r\nContent-Length: 0\r\n\r\n".encode()
        )

    async with upstream_that(redirect) as base_url, Upstream(base_url) as client:
        with pytest.raises(Rejected, match="OPENAI_BASE_URL"):
            await client.list_models()


class Flood:
    """A body that never ends; `sent` counts its bytes."""

    def __init__(self, head: bytes, piece: bytes) -> None:
        self._head = head
        self._piece = piece
        self.sent = 0

    async def __call__(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(self._head)
        while True:
            writer.write(self._piece)
            self.sent += len(self._piece)
            await writer.drain()


def bomb(megabytes: int) -> bytes:
    """Gzip data of zeros, less than a hundredth of its content."""
    packer = zlib.compressobj(1, wbits=31)
    pieces = [packer.compress(b"0" * MIB) for _ in range(megabytes)]
    return b"".join([*pieces, packer.flush()])


async def test_an_endless_error_body_is_read_up_to_its_bound() -> None:
    flood = Flood(b"HTTP/1.1 400 No\r\nConnection: close\r\n\r\n", b"x" * MIB)
    async with upstream_that(flood) as base_url:
        error = await failure_at(base_url)
    assert type(error) is Rejected
    # What was sent beyond the bound was in the buffers of the two sockets.
    assert flood.sent < 16 * MIB


async def test_an_error_is_read_for_a_bounded_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tickertape.worker.upstream.error_responses.ERROR_S", 0.1)

    async def stall(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 No\r\nContent-Length: 999\r\n\r\ntoo long a prompt")
        await reader.read()

    async with upstream_that(stall) as base_url:
        error = await failure_at(base_url)
    assert (type(error), error.message) == (Rejected, "too long a prompt")


@pytest.mark.parametrize("status", ["200 OK", "400 No"])
async def test_a_compressed_bomb_fills_no_memory(status: str) -> None:
    packed = bomb(64)
    head = f"HTTP/1.1 {status}\r\nContent-Encoding: gzip\r\nContent-Length: {len(packed)}\r\n\r\n"

    async def explode(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(head.encode() + packed)
        await writer.drain()

    async with upstream_that(explode) as base_url:
        error = await failure_at(base_url)
    assert type(error) in {UpstreamGarbage, Rejected}
    assert len(error.message) < 1000


@pytest.mark.parametrize("status", ["200 OK", "500 No"])
async def test_a_bomb_within_a_bomb_is_not_opened(status: str) -> None:
    packed = gzip.compress(bomb(16))
    codings = f"Content-Encoding: gzip, gzip\r\nContent-Length: {len(packed)}\r\n\r\n"

    async def explode(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 {status}\r\n{codings}".encode() + packed)
        await writer.drain()

    async with upstream_that(explode) as base_url:
        error = await failure_at(base_url)
    assert error.message == "The upstream's answer is compressed more than once."


@pytest.mark.parametrize(
    ("head", "piece"),
    [
        pytest.param(
            b"HTTP/1.1 200 OK\r\n\r\n", b"data: " + b"x" * MIB, id="a line without an end"
        ),
        pytest.param(b'HTTP/1.1 200 OK\r\n\r\n{"a":"', b"x" * MIB, id="a document without an end"),
        pytest.param(b"HTTP/1.1 200 OK\r\n", b"x: y\r\n" * 1000, id="headers"),
        pytest.param(b"HTTP/1.1 200 OK\r\nx: ", b"y" * MIB, id="a header without an end"),
        pytest.param(b"HTTP/1.1 200 ", b"y" * MIB, id="a status line without an end"),
    ],
)
async def test_what_never_ends_is_left_at_its_bound(head: bytes, piece: bytes) -> None:
    flood = Flood(head, piece)
    async with upstream_that(flood) as base_url:
        reading = Reading()
        async with Upstream(base_url) as client, asyncio.timeout(30):
            with contextlib.suppress(TooLong):
                await reading.run(client, PATIENT)
    assert flood.sent < 40 * MIB


async def test_the_owner_of_a_model_does_not_name_the_operator_s_organization(
    upstream: ScriptedUpstream,
) -> None:
    async with Upstream(upstream.base_url) as client:
        for owner, shown in (("org-Ab12Cd34Ef", "[…]"), ("openai-internal", "openai-internal")):
            upstream.owner = owner
            assert (await client.list_models())[0]["owned_by"] == shown


async def test_a_list_of_models_is_read_up_to_its_bound() -> None:
    flood = Flood(b'HTTP/1.1 200 OK\r\n\r\n{"data":[', b'{"id":"m"},' * 100_000)
    async with upstream_that(flood) as base_url, Upstream(base_url) as client:
        with pytest.raises(UpstreamGarbage, match="too large"):
            await client.list_models()
    assert flood.sent < 40 * MIB


def test_an_event_of_countless_objects_is_not_made_into_objects() -> None:
    tracemalloc.start()
    try:
        with pytest.raises(UpstreamGarbage):
            decode_chunk(b"[" + b"{}," * 2_500_000 + b"{}]")
        assert tracemalloc.get_traced_memory()[1] < 40 * MIB
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("No model at org-Ab12Cd34Ef. Try gpt-4.", "No model at […]. Try gpt-4."),
        ("No model for organization acme. Try gpt-4.", "Try gpt-4."),
        ("You exceeded your current quota, please check your plan and billing details.", ""),
        ("max_tokens is too large: 99999", "max_tokens is too large: 99999"),
        ("cannot connect to 10.1.2.3:8000", "cannot connect to […]"),
        ("cannot connect to [fd00::12]:8000 today", "cannot connect to […] today"),
        ("no route to gpu-3:8000", "no route to […]"),
        ("HTTPConnectionPool(host='vllm', port=8000)", "HTTPConnectionPool(host=[…], port=8000)"),
        ("upstream vllm-0.models.svc.cluster.local refused", "upstream […] refused"),
        ("see http://litellm.acme.corp:4000/ui for more", "see […] for more"),
        ("File /opt/vllm/engine.py, line 12", "File […], line 12"),
        ("key sk***************xyz9 is wrong", "key […] is wrong"),
        ("arn:aws:bedrock:eu-1:123456789012:model/x is gone", "[…] is gone"),
        ("subject 123e4567-e89b-12d3-a456-426614174000", "subject […]"),
        ("at 12:30:45 the ratio was 3:1", "at 12:30:45 the ratio was 3:1"),
        ("messages.1.content: field required", "messages.1.content: field required"),
    ],
)
def test_names_of_the_operator_s_account_and_network_are_masked(said: str, shown: str) -> None:
    assert without_inner_names(said) == shown


INNER = "Organization org-Ab12Cd34Ef at 10.1.2.3 has no quota."


async def test_a_tenant_reads_own_words_and_the_log_has_the_upstream_s(
    redis_url: str, upstream: ScriptedUpstream
) -> None:
    body: dict[str, Any] = {"error": {"message": f"{INNER} You asked: {QUESTION['content']}"}}
    upstream.script = [Status(400, {}, body)]
    settings = Settings.model_validate({"openai_base_url": upstream.base_url})
    with structlog.testing.capture_logs() as lines:
        async with open_rig(redis_url, settings) as rig, working(redis_url, settings):
            answered = await rig.ended(await rig.ask(QUESTION["content"]))
    stored = json.dumps(answered.end)
    assert "org-Ab12Cd34Ef" not in stored
    assert "10.1.2.3" not in stored
    assert "Whoever runs this server" in stored
    failed = next(line for line in lines if line["event"] == "request failed")
    assert INNER in failed["upstream_said"]
    assert QUESTION["content"] not in str(lines)


def test_an_error_is_bounded_to_what_people_read() -> None:
    assert ERROR_BYTES <= 64 * 1024
