"""The public keys of an issuer: how they are read, and which answers are none."""

import asyncio
import contextlib
import gzip
import json

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key

from tests.support.issuer import Issuer
from tickertape.api.edge.jwks import Fetch, Jwks
from tickertape.broker.errors import Unavailable


async def test_calls_that_come_while_the_keys_of_an_issuer_are_read_wait_for_them() -> None:
    public = generate_private_key(public_exponent=65537, key_size=2048).public_key()
    key = {**jwt.algorithms.RSAAlgorithm.to_jwk(public, as_dict=True), "kid": "a", "alg": "RS256"}
    jwks = Jwks("https://issuer", fetch=giving({"keys": [key]}), clock=lambda: 0.0)
    assert None not in await asyncio.gather(*(jwks.find("a") for _ in range(3)))


@pytest.mark.parametrize(
    "keys",
    [
        None,
        {},
        {"keys": {}},
        {"keys": [None]},
        {"keys": [{"kty": "RSA", "n": "AQAB", "e": "AQAB", "kid": ["a"]}]},
        {"keys": [{"kty": "RSA", "n": "AQAB", "e": "AQAB", "kid": "a", "alg": {}}]},
        "[" * 100_000,
    ],
)
async def test_an_issuer_whose_answer_is_no_set_of_keys_is_away(keys: object) -> None:
    with pytest.raises(Unavailable):
        await Jwks("https://issuer", fetch=giving(keys)).find("a")


def giving(keys: object) -> Fetch:
    async def fetch(_: str) -> bytes:
        return (keys if isinstance(keys, str) else json.dumps(keys)).encode()

    return fetch


async def test_an_issuer_whose_answer_comes_byte_by_byte_is_away_after_the_limit() -> None:
    async def dribble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while not reader.at_eof():
                writer.write(b"H")
                await writer.drain()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(reader.read(1000), 0.02)
        writer.close()

    server = await asyncio.start_server(dribble, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/keys"
        with pytest.raises(Unavailable):
            await asyncio.wait_for(Jwks(url, limit_s=0.1).find("first"), 10)


@pytest.mark.parametrize(
    ("status", "headers", "body"),
    [
        (302, {"Location": "/keys"}, b"{}"),
        (500, {}, None),
        (200, {}, b" " * (1024 * 1024 + 1)),
        (200, {"Content-Encoding": "gzip"}, gzip.compress(b" " * (1024 * 1024 + 1))),
        (200, {"Content-Length": "9"}, b"{}"),
    ],
)
async def test_keys_behind_a_redirect_an_error_or_too_many_bytes_are_not_read(
    status: int, headers: dict[str, str], body: bytes | None
) -> None:
    text = Issuer().jwks() if body is None else body

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = {"Content-Length": str(len(text)), "Connection": "close", **headers}
        lines = [f"HTTP/1.1 {status} X", *(f"{name}: {value}" for name, value in head.items())]
        writer.write("\r\n".join([*lines, "", ""]).encode() + text)
        with contextlib.suppress(ConnectionError):
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/keys"
        with pytest.raises(Unavailable):
            await Jwks(url).find("first")
