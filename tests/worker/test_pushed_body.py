"""A body is handed over by the HTTP parser, in whatever form HTTP allows it to arrive."""

import asyncio
import gzip
import ssl
import zlib
from pathlib import Path

import pytest

from tests.support.raw_upstream import Serve, upstream_that
from tests.support.reading import PATIENT, PAYLOAD, Reading
from tests.support.script import Finish, Headers, Text, Wait, answer, bytes_of
from tests.support.tls import make_certificates
from tests.support.upstream import ScriptedUpstream
from tests.support.wait import wait_until
from tickertape.worker.upstream.answer_stream import AnswerStream, Limits
from tickertape.worker.upstream.client import Upstream
from tickertape.worker.upstream.errors import Stalled, Truncated, Unreachable
from tickertape.worker.upstream.pieces import Piece
from tickertape.worker.upstream.tally import Tally

COUNT = 10_000
ANSWER = b"".join(map(bytes_of, answer(["a", "b"])))
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


def chunk(data: bytes, extension: bytes = b"") -> bytes:
    return b"%x%b\r\n%b\r\n" % (len(data), extension, data)


def saying(*parts: bytes) -> Serve:
    async def say(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0)

    return say


async def reading_of(serve: Serve, tls: ssl.SSLContext | None = None) -> Reading:
    reading = Reading()
    async with upstream_that(serve, tls) as url, Upstream(url) as client, asyncio.timeout(30):
        await reading.run(client)
    return reading


class Taker:
    """Receives what `deliver` passes on. `has_room` is its reply; `opened` ends a wait.

    `begun` is set once the headers are there.
    """

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.has_room = True
        self.begun = asyncio.Event()
        self.opened = asyncio.Event()
        self.waits = 0
        self.tasks: set[object] = set()

    def take(self, pieces: list[Piece]) -> bool:
        self.texts += [piece.text for piece in pieces]
        self.tasks.add(asyncio.current_task())
        return self.has_room

    @property
    def text(self) -> str:
        return "".join(self.texts)

    async def room(self) -> None:
        if not self.has_room:
            self.waits += 1
            await self.opened.wait()

    async def run(self, stream: AnswerStream) -> None:
        async with stream as opened:
            self.begun.set()
            await opened.deliver(self.take, self.room)


async def test_tokens_are_passed_on_without_a_turn_of_the_answers_task(
    upstream: ScriptedUpstream,
) -> None:
    gate, taker = asyncio.Event(), Taker()
    upstream.enqueue([Headers(), Wait(gate), *answer(["a", "b"])])
    async with Upstream(upstream.base_url) as client:
        reading = asyncio.create_task(taker.run(client.stream(PAYLOAD, Tally())))
        await taker.begun.wait()
        gate.set()
        await reading
    assert (taker.text, taker.tasks) == ("ab", {None})


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param([CHUNKED, chunk(ANSWER), b"0\r\n\r\n"], id="chunked"),
        pytest.param([CHUNKED + chunk(ANSWER) + b"0\r\n\r\n"], id="all at once"),
        pytest.param([CHUNKED, chunk(ANSWER, b";a=b"), b"0\r\nx-t: 1\r\n\r\n"], id="trailers"),
        pytest.param([CHUNKED, *(chunk(ANSWER[n : n + 1]) for n in range(len(ANSWER))),
                      b"0\r\n\r\n"], id="a chunk for each byte"),
        pytest.param([CHUNKED, *((chunk(ANSWER) + b"0\r\n\r\n")[n : n + 3]
                      for n in range(0, len(ANSWER) + 20, 3))], id="three bytes at a time"),
        pytest.param([HEAD + b"Content-Length: %d\r\n\r\n" % len(ANSWER), ANSWER], id="length"),
        pytest.param([HEAD + b"\r\n", ANSWER], id="until the end"),
        pytest.param([b"HTTP/1.0 200 OK\r\n\r\n", ANSWER], id="HTTP/1.0"),
        pytest.param([b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n", CHUNKED, chunk(ANSWER),
                      b"0\r\n\r\n"], id="early hints"),
    ],
)  # fmt: skip
async def test_an_answer_is_read_in_every_form_of_http(parts: list[bytes]) -> None:
    reading = await reading_of(saying(*parts))
    assert (reading.text, reading.error) == ("ab", None)


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
async def test_a_compressed_answer_is_read(coding: str) -> None:
    packed = gzip.compress(ANSWER) if coding == "gzip" else zlib.compress(ANSWER)
    head = HEAD + f"Content-Encoding: {coding}\r\n".encode()
    length = b"Content-Length: %d\r\n\r\n" % len(packed)
    reading = await reading_of(saying(head + length, packed[:20], packed[20:]))
    assert (reading.text, reading.error) == ("ab", None)


@pytest.mark.parametrize(
    "rest",
    [
        pytest.param(b"", id="a half-closed connection"),
        pytest.param(b"5\r\nab", id="a cut chunk"),
    ],
)
async def test_a_body_that_breaks_off_is_truncated_after_its_text(rest: bytes) -> None:
    """The connection stays open in one direction, because the client has not closed it."""
    half, seen = bytes_of(Text("half")), asyncio.Event()

    async def break_off(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(CHUNKED + chunk(half))
        await seen.wait()
        writer.write(rest)
        writer.write_eof()
        await writer.drain()

    reading = Reading(on_text=seen.set)
    async with upstream_that(break_off) as url, Upstream(url) as client, asyncio.timeout(20):
        await reading.run(client)
    assert (reading.text, type(reading.error)) == ("half", Truncated)


class Stream:
    """Serves one delta after the other, as fast as the reader takes them."""

    def __init__(self) -> None:
        self.sent = 0

    async def __call__(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(CHUNKED)
        while self.sent < COUNT:
            writer.write(chunk(bytes_of(Text("x" * 1000))))
            self.sent += 1
            await writer.drain()
        writer.write(chunk(bytes_of(Finish())) + b"0\r\n\r\n")


async def test_an_upstream_waits_while_there_is_no_room() -> None:
    stream, taker = Stream(), Taker()
    taker.has_room = False
    limits = Limits(first_byte_s=20, stall_s=0.2, deadline_s=60)
    async with upstream_that(stream) as url, Upstream(url) as client, asyncio.timeout(50):
        reading = asyncio.create_task(taker.run(client.stream(PAYLOAD, Tally(), limits)))
        await wait_until(lambda: taker.waits, description="no room")
        sent = -1
        while sent != stream.sent:
            sent = stream.sent
            await asyncio.sleep(0.3)  # longer than a stall, which waiting for room is not
        assert (sent < COUNT, taker.waits) == (True, 1)
        taker.has_room = True
        taker.opened.set()
        await reading
    assert len(taker.text) == COUNT * 1000


async def test_a_silence_between_pushes_is_a_stall(upstream: ScriptedUpstream) -> None:
    taker = Taker()
    upstream.enqueue([Text("half"), Wait(asyncio.Event())])
    limits = Limits(first_byte_s=20, stall_s=0.1, deadline_s=60)
    async with Upstream(upstream.base_url) as client:
        with pytest.raises(Stalled):
            await taker.run(client.stream(PAYLOAD, Tally(), limits))
        await asyncio.wait_for(upstream.calls[0].closed.wait(), 5)
    assert taker.text == "half"


async def test_a_defect_in_what_takes_the_pieces_ends_the_answer(
    upstream: ScriptedUpstream,
) -> None:
    def fail(_: list[Piece]) -> bool:
        raise KeyError("a defect")

    upstream.enqueue([Text("a"), Wait(asyncio.Event())])
    async with Upstream(upstream.base_url) as client:
        with pytest.raises(KeyError):
            async with client.stream(PAYLOAD, Tally(), PATIENT) as stream:
                await stream.deliver(fail, Taker().room)
        await asyncio.wait_for(upstream.calls[0].closed.wait(), 5)


async def test_tls_is_verified_with_the_authorities_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_certificates(tmp_path)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(tmp_path / "redis.crt", tmp_path / "redis.key")
    serve = saying(CHUNKED, chunk(ANSWER), b"0\r\n\r\n")
    assert type((await reading_of(serve, tls)).error) is Unreachable
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.crt"))
    reading = await reading_of(serve, tls)
    assert (reading.text, reading.error) == ("ab", None)
