"""What a caller may send and hold, before any key was checked. Most tests send raw bytes."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest
import structlog

from tests.support.raw import RawConnection, call, error_of, exchange, raw_connection
from tests.support.running_api import RunningApi, running_api
from tests.support.wait import wait_until
from tickertape.api.serving.plain_head import without_upgrade
from tickertape.runtime.networks import address_of, neighborhood, networks_of

CHUNKED = ("Transfer-Encoding: chunked", "Content-Type: application/json")
BODY = b'{"message": "hi"}'
# A proxy elsewhere, so that callers on this machine are counted.
ELSEWHERE = "192.0.2.1"


@pytest.fixture
async def strict(redis_url: str) -> AsyncIterator[RunningApi]:
    """An API with keys and short times."""
    async with running_api(
        redis_url,
        api_keys="one:secret-key-of-one",
        head_s=0.4,
        body_s=2,
        body_stall_s=0.4,
        unread_s=0.4,
    ) as api:
        yield api


@pytest.fixture
async def small(redis_url: str) -> AsyncIterator[RunningApi]:
    """An API without keys that takes few connections and bodies."""
    async with running_api(
        redis_url, body_slots=2, address_connections=5, trusted_proxies=ELSEWHERE
    ) as api:
        yield api


async def is_well(api: RunningApi) -> bool:
    return (await api.client.get("/healthz")).status_code == 200


async def refused(connection: RawConnection) -> tuple[int, str]:
    answer = await connection.until_closed()
    assert b"connection: close" in answer.lower()
    return error_of(answer)


async def test_one_endless_header_is_refused(strict: RunningApi) -> None:
    async with raw_connection(strict.url, b"GET /roles HTTP/1.1\r\nX-Long: ") as flood:
        await flood.send(b"x" * 4_000_000)
        assert await refused(flood) == (431, "headers_too_large")
    assert await is_well(strict)


async def test_a_header_that_grows_in_small_steps_is_refused(strict: RunningApi) -> None:
    async with raw_connection(strict.url, b"GET /roles HTTP/1.1\r\nX-Long: ") as flood:
        for _ in range(40):
            await flood.send(b"x" * 1000)
            await asyncio.sleep(0)
        assert await refused(flood) == (431, "headers_too_large")


async def test_too_many_headers_are_refused(strict: RunningApi) -> None:
    headers = [f"X-{number}: 1" for number in range(200)]
    answer = await exchange(strict.url, call("GET", "/roles", *headers))
    assert error_of(answer) == (431, "headers_too_large")


async def test_an_endless_path_is_refused(strict: RunningApi) -> None:
    answer = await exchange(strict.url, b"GET /" + b"a" * 100_000)
    assert error_of(answer) == (414, "target_too_long")


async def test_bytes_that_are_not_http_get_a_json_error(strict: RunningApi) -> None:
    for garbage in (b"\x16\x03\x01\x02\x00\x01", b"GET / HTTP/9.9\r\n\r\n", b"hello\r\n\r\n"):
        assert error_of(await exchange(strict.url, garbage)) == (400, "invalid_request")


async def test_the_second_call_of_a_kept_connection_has_the_same_bounds(
    strict: RunningApi,
) -> None:
    async with raw_connection(strict.url, call("GET", "/healthz")) as kept:
        await kept.until(b'"ok"')
        kept.received = b""
        await kept.send(b"GET /healthz HTTP/1.1\r\nX-Long: " + b"x" * 100_000)
        assert await refused(kept) == (431, "headers_too_large")


@pytest.mark.parametrize(
    "trailers",
    [
        b"X-Long: " + b"x" * 200_000,
        b"X: 1\r\n" * 1000,
        b"".join([b"X: %d\r\n" % n for n in range(9999)]),
    ],
)
async def test_a_flood_of_trailers_is_refused(api: RunningApi, trailers: bytes) -> None:
    body = b"%x\r\n%b\r\n0\r\n" % (len(BODY), BODY)
    async with raw_connection(api.url, call("POST", "/chat", *CHUNKED) + body) as flood:
        await flood.send(trailers)
        assert await refused(flood) == (431, "trailers_too_large")


async def test_trailers_do_not_become_headers(api: RunningApi) -> None:
    body = b"%x\r\n%b\r\n0\r\nHost: evil.example\r\n\r\n" % (len(BODY), BODY)
    async with raw_connection(api.url, call("POST", "/chat", *CHUNKED) + body) as caller:
        assert b" 202 " in await caller.until(b"request_id")


async def test_a_body_of_tiny_chunks_is_refused(api: RunningApi) -> None:
    async with raw_connection(api.url, call("POST", "/chat", *CHUNKED)) as flood:
        await flood.send(b"1\r\n \r\n" * 100_000)
        assert await refused(flood) == (413, "chunks_too_small")


async def test_a_body_with_endless_extensions_of_a_chunk_is_refused(api: RunningApi) -> None:
    async with raw_connection(api.url, call("POST", "/chat", *CHUNKED)) as flood:
        await flood.send(b"5;" + b"x" * 300_000)
        status, _ = await refused(flood)
        assert status in {413, 431}


async def test_a_head_that_dribbles_is_ended_and_one_that_says_nothing_too(
    strict: RunningApi,
) -> None:
    async with (
        raw_connection(strict.url) as silent,
        raw_connection(strict.url, b"\r\n\r\n") as blank,
        raw_connection(strict.url, b"GET /ro") as slow,
    ):
        assert await refused(slow) == (408, "head_timeout")
        assert await silent.until_closed() == b""
        assert await blank.until_closed() == b""


async def test_bytes_that_dribble_between_calls_keep_no_connection(strict: RunningApi) -> None:
    async with raw_connection(strict.url, call("GET", "/healthz")) as kept:
        await kept.until(b'"ok"')
        await kept.send(b"\r\n")
        await kept.until_closed()


async def test_a_body_that_dribbles_is_ended_with_an_error_of_its_route(
    redis_url: str,
) -> None:
    async with running_api(redis_url, body_stall_s=0.4) as api:
        head = call("POST", "/chat", "Content-Length: 5000", "Content-Type: application/json")
        async with raw_connection(api.url, head + b'{"message') as slow:
            assert await refused(slow) == (408, "body_timeout")


async def test_a_body_that_is_refused_without_a_key_does_not_hold_its_connection(
    strict: RunningApi,
) -> None:
    head = call("POST", "/chat", "Content-Length: 5000", "Content-Type: application/json")
    async with raw_connection(strict.url, head + b"{") as slow:
        assert error_of(await slow.until_closed()) == (401, "invalid_api_key")


async def test_bodies_beyond_the_slots_are_refused_and_small_ones_are_not(
    small: RunningApi,
) -> None:
    head = call("POST", "/chat", "Content-Length: 5000", "Content-Type: application/json")
    async with raw_connection(small.url, head), raw_connection(small.url, head):
        await wait_until(lambda: in_flight(small) == 2, description="two bodies are received")
        async with raw_connection(small.url, head) as third:
            answer = await third.until_closed()
        assert error_of(answer) == (503, "too_many_bodies")
        assert b"retry-after: 1" in answer.lower()
        async with raw_connection(small.url, call("POST", "/chat", body=BODY)) as whole:
            assert b" 202 " in await whole.until(b"request_id")
    await wait_until(lambda: in_flight(small) == 0, description="the slots are free")


def in_flight(api: RunningApi) -> int:
    return len(api.server.doorway._bodies)


async def test_the_connections_of_an_address_are_limited(small: RunningApi) -> None:
    async with contextlib.AsyncExitStack() as connections:
        for _ in range(4):  # and that of the client
            await connections.enter_async_context(raw_connection(small.url))
        assert error_of(await exchange(small.url, b"")) == (503, "too_many_connections")
        assert await is_well(small)
    await wait_until(lambda: counted(small) == [1], description="the places are free")


def counted(api: RunningApi) -> list[int]:
    return [place._count for place in api.server.doorway._places.values()]


async def test_an_open_stream_counts_for_its_address_until_it_ends(small: RunningApi) -> None:
    stream = call("GET", f"/chat/{await small.submit()}/stream")
    async with raw_connection(small.url, stream) as reader:
        await reader.until(b"queued")
        assert counted(small) == [2]
    await wait_until(lambda: counted(small) == [1], description="the place is free")


async def test_connections_through_a_trusted_proxy_are_not_limited(redis_url: str) -> None:
    async with (
        running_api(redis_url, address_connections=1, trusted_proxies="127.0.0.0/8") as api,
        raw_connection(api.url),
        raw_connection(api.url),
    ):
        assert await is_well(api)


async def test_an_answer_that_is_not_read_is_cut(strict: RunningApi) -> None:
    doorway = strict.server.doorway
    others = set(doorway._guests)
    async with raw_connection(strict.url, receives=4096) as deaf:
        await wait_until(lambda: doorway._guests - others, description="the server accepts")
        for guest in doorway._guests - others:
            connected = guest.transport.get_extra_info("socket")  # type: ignore[attr-defined]
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        await deaf.send(call("GET", "/openapi.json") * 10)
        await wait_until(
            lambda: doorway.refusals["answer_unread"], description="the answers are cut"
        )
    assert await is_well(strict)


async def test_garbage_is_logged_once_with_a_count(strict: RunningApi) -> None:
    with structlog.testing.capture_logs() as logged:
        for _ in range(50):
            await exchange(strict.url, b"garbage\r\n\r\n")
    lines = [line for line in logged if line["event"] == "refused at the edge"]
    assert lines == [{"event": "refused at the edge", "log_level": "warning", "invalid_request": 1}]
    assert strict.server.doorway.refusals["invalid_request"] == 50


def test_addresses_of_one_caller_are_counted_together() -> None:
    for one, other, is_same in [
        ("2001:db8::1", "2001:db8::ffff:2", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.7", "192.0.2.7", True),
        ("192.0.2.7", "192.0.2.8", False),
    ]:
        first, second = address_of(one), address_of(other)
        assert first is not None
        assert second is not None
        assert (neighborhood(first) == neighborhood(second)) is is_same


def test_a_list_of_proxies_with_a_wrong_address_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'10\.0\.0' is not an address"):
        networks_of("10.0.0.1, 10.0.0")


@pytest.mark.parametrize("name", ["Upgrade", "upgrade", "UPGRADE"])
async def test_a_call_that_offers_http_2_keeps_its_body(small: RunningApi, name: str) -> None:
    """Java's HttpClient and `curl --http2` offer it with every call."""
    offer = ("Connection: Upgrade, HTTP2-Settings", f"{name}: h2c", "HTTP2-Settings: AAMA")
    json = ("Content-Type: application/json", f"Content-Length: {len(BODY)}")
    async with raw_connection(small.url, call("POST", "/chat", *offer, *json) + BODY) as caller:
        answer = await caller.until(b"request_id")
        assert answer.startswith(b"HTTP/1.1 202")
        await caller.send(call("GET", "/healthz", *offer))
        assert b"HTTP/1.1 200" in await caller.until(b"HTTP/1.1 200")


def test_an_upgrade_in_a_body_stays_as_it_is() -> None:
    head, body = b"POST / HTTP/1.1\r\n%b: h2c\r\n\r\n", b"one\nupgrade: two"
    kept = without_upgrade(memoryview(head % b"Upgrade" + body))
    assert bytes(kept) == head % b"ignored" + body


async def test_many_callers_that_come_at_once_are_all_answered(redis_url: str) -> None:
    """As after a restart of the server: their heads have arrived before one of them is read."""
    sent = call("GET", "/healthz", "Connection: close")
    async with running_api(redis_url) as api, contextlib.AsyncExitStack() as connections:
        address = urlsplit(api.url)
        callers = []
        # Without a turn of the event loop, which is also the server's.
        for _ in range(400):
            caller = connections.enter_context(
                socket.create_connection((address.hostname, address.port))
            )
            caller.sendall(sent)
            caller.setblocking(False)
            callers.append(caller)
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(20):
            answers = [await loop.sock_recv(caller, 15) for caller in callers]
    assert {*answers} == {b"HTTP/1.1 200 OK"}
