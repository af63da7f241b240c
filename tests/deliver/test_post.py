"""What a receiver's address cannot do: reach inside the network, redirect, or keep the sender."""

import asyncio
import contextlib
import re
import socket
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from tests.support.receiver import SECRET, receiving
from tests.support.receiver import Receiver as Server
from tests.support.tls import make_certificates
from tickertape.deliver.post import Poster, PrivateAddress, PublicResolver
from tickertape.deliver.signature import read_secret, signed_headers
from tickertape.deliver.webhook_file import Receiver

BODY = b'{"id":"evt_1","data":{"request_id":"r"},"type":"t"}'


class Names(AbstractResolver):
    """Answers each look-up with the next addresses."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = [*answers]

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=host, host=each, port=port, family=socket.AF_INET, proto=0, flags=0
            )
            for each in self.answers.pop(0)
        ]

    async def close(self) -> None:
        pass


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with receiving() as server:
        yield server


def receiver(url: str, *, allow_private: bool = True) -> Receiver:
    return Receiver("a", url, (read_secret(SECRET),), allow_private=allow_private)


async def post(
    url: str, *, allow_private: bool = True, patience_s: float = 5.0, names: Names | None = None
) -> tuple[int | None, str]:
    async with Poster(patience_s=patience_s, resolver=names) as poster:
        to = receiver(url, allow_private=allow_private)
        headers = signed_headers(to.keys, "evt_1", int(time.time()), BODY)
        reply = await poster.post(to, BODY, headers)
    return reply.status, reply.failure


async def test_a_receiver_that_accepts_has_the_body(server: Server) -> None:
    assert await post(server.url) == (200, "")
    assert server.bodies == [BODY]


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "2130706433", "[::1]", "[::ffff:127.0.0.1]", "localhost", "0.0.0.0"]
)
async def test_a_private_host_gets_no_call(server: Server, host: str) -> None:
    url = server.url.replace("127.0.0.1", host)
    assert await post(url, allow_private=False) == (None, "private address")
    assert not server.bodies


async def test_a_public_name_that_leads_to_a_private_address_gets_no_call(server: Server) -> None:
    url = server.url.replace("127.0.0.1", "hooks.example.com")
    names = Names(["127.0.0.1"])
    assert await post(url, allow_private=False, names=names) == (None, "private address")
    assert not server.bodies


async def test_a_name_that_was_public_when_it_was_looked_up_first_gets_no_private_call() -> None:
    """DNS rebinding: the addresses that are checked are those that are connected to."""
    names = PublicResolver(Names(["8.8.8.8", "10.0.0.1"], ["10.0.0.1"]))
    assert [each["host"] for each in await names.resolve("hooks.example.com")] == ["8.8.8.8"]
    with pytest.raises(PrivateAddress):
        await names.resolve("hooks.example.com")


async def test_a_redirect_is_not_followed(server: Server) -> None:
    server.statuses.append(307)
    server.headers = {"Location": server.url.replace("127.0.0.1", "169.254.169.254")}
    assert await post(server.url) == (307, "")
    assert len(server.bodies) == 1


async def test_a_receiver_that_does_not_answer_costs_its_time_and_no_more(server: Server) -> None:
    server.is_answering.clear()
    assert await post(server.url, patience_s=0.05) == (None, "no reply in time")


Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def serving(answer: Answer, context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """The port of a server that answers so, until the end of the block."""
    calls: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        call = asyncio.ensure_future(answer(reader, writer))
        calls.add(call)
        await asyncio.wait([call])
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context) as server:
        yield server.sockets[0].getsockname()[1]
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)


@contextlib.asynccontextmanager
async def replies(*parts: bytes, pause_s: float = 0.0) -> AsyncIterator[tuple[str, list[int]]]:
    """The address of a server that answers with these parts, and how many bytes it got rid of."""
    sent = [0]

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for part in parts:
            writer.write(part)
            await writer.drain()
            sent[0] += len(part)
            await asyncio.sleep(pause_s)

    async with serving(answer) as port:
        yield f"http://127.0.0.1:{port}/", sent


async def test_a_reply_of_300_mb_is_not_read() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 300000000\r\n\r\n"
    parts = [head, *[b"x" * 65_536] * 4577]
    async with replies(*parts) as (url, sent):
        assert await post(url) == (200, "")
    assert sent[0] < 20_000_000


@pytest.mark.parametrize("beginning", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 300\r\n\r\n"])
async def test_a_reply_that_comes_byte_by_byte_has_the_time_of_any_other(beginning: bytes) -> None:
    parts = [beginning, *(bytes([byte]) for byte in b"HTTP/1.1 200 OK\r\nA: a" + b"a" * 999)]
    began_s = time.monotonic()
    async with replies(*parts, pause_s=0.01) as (url, _):
        # The first byte behind a whole head is enough.
        expected = (200, "") if beginning else (None, "no reply in time")
        assert await post(url, patience_s=0.3) == expected
    assert time.monotonic() - began_s < 5


@pytest.mark.parametrize(
    "reply",
    [
        b"220 mail.example ESMTP\r\n",
        b"HTTP/1.1 200 OK\r\nA: " + b"a" * 100_000,
        b"\x16\x03\x01",
        b"",
    ],
)
async def test_a_reply_that_is_no_http_is_a_failure_without_its_text(reply: bytes) -> None:
    async with replies(reply) as (url, _):
        status, failure = await post(url)
    assert status is None
    assert re.fullmatch("[A-Za-z ]+", failure)
    assert "mail" not in failure


async def test_a_receiver_with_a_certificate_of_its_own_making_gets_no_webhook(
    tmp_path: Path,
) -> None:
    make_certificates(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "redis.crt", tmp_path / "redis.key")
    bodies: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        bodies.append(await reader.read())

    async with serving(answer, context) as port:
        assert await post(f"https://localhost:{port}/") == (None, "no connection")
    assert not any(bodies)


@pytest.mark.parametrize(
    "url",
    [
        "https://a.example\\@127.0.0.1/", "https://127.0.0.1\\@a.example/",
        "https://127\u30020\u30020\u30021/", "https://\u24dbocalhost/", "https://a.example:443@127.0.0.1/",
        "https://127.0.0.1%00.a.example/", "https://[::1]@a.example/", "https:///127.0.0.1/",
    ],
)  # fmt: skip
async def test_an_address_that_programs_read_differently_gets_no_call(url: str) -> None:
    assert (await post(url, allow_private=False, names=Names()))[0] is None


async def test_a_receiver_that_is_away_is_a_failure() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    assert await post(f"http://127.0.0.1:{port}/") == (None, "no connection")
