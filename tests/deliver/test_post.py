"""What a receiver's address cannot do: reach inside the network, redirect, or keep the sender."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from tests.support.receiver import SECRET, receiving
from tests.support.receiver import Receiver as Server
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
    server.headers = {"Location": server.url}
    assert await post(server.url) == (307, "")
    assert len(server.bodies) == 1


async def test_a_receiver_that_does_not_answer_costs_its_time_and_no_more(server: Server) -> None:
    server.is_answering.clear()
    assert await post(server.url, patience_s=0.05) == (None, "no reply in time")


async def test_a_reply_without_end_is_not_read() -> None:
    sent = 0

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
        try:
            while sent < 100_000_000:
                writer.write(b"x" * 65_536)
                await writer.drain()
                sent += 65_536
        except ConnectionError:
            pass
        finally:
            writer.close()

    async with await asyncio.start_server(flood, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        assert await post(f"http://127.0.0.1:{port}/") == (200, "")
    assert sent < 20_000_000


async def test_a_receiver_that_is_away_is_a_failure() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    assert await post(f"http://127.0.0.1:{port}/") == (None, "no connection")
