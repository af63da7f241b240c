"""Tickets: what a thief, a former friend and a tinkerer cannot do with one."""

import asyncio
import base64
import string
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import msgspec
import pytest
import structlog

from tests.support.rig import Rig
from tests.support.running_api import RunningApi, running_api
from tests.support.sse import Event
from tests.support.wait import wait_until
from tickertape.api.edge.ticket_text import PREFIX, Claims, sign, verify
from tickertape.api.services import ApiTiming
from tickertape.client.events import EventDecoder

FAST = ApiTiming(access_interval_s=0.02)
ALPHABET = string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"
KEYS = (
    "ada:the-key-of-ada-01,bob:the-key-of-bob-01,"
    "ada:a-key-that-reads-01 scopes=read,ada:a-key-of-small-01 models=small"
)
ADA, BOB = (
    {"Authorization": "Bearer the-key-of-ada-01"},
    {"Authorization": "Bearer the-key-of-bob-01"},
)
READS = {"Authorization": "Bearer a-key-that-reads-01"}
SMALL = {"Authorization": "Bearer a-key-of-small-01"}


@pytest.fixture
async def api(redis_url: str) -> AsyncIterator[RunningApi]:
    async with running_api(
        redis_url, api_keys=KEYS, timing=FAST, trusted_proxies="127.0.0.1"
    ) as running:
        yield running


async def ticket(
    api: RunningApi, path: str, rights: str = "read", headers: dict[str, str] = ADA, **fields: Any
) -> str:
    body = {"rights": rights, **fields}
    answer = await api.client.post(f"{path}/ticket", json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["ticket"])


async def submitted(api: RunningApi, headers: dict[str, str] = ADA, **fields: Any) -> str:
    answer = await api.client.post("/chat", json={"message": "hi", **fields}, headers=headers)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["request_id"])


def by(text: str) -> dict[str, str]:
    return {"Authorization": f"Ticket {text}"}


async def status(api: RunningApi, method: str, path: str, text: str, body: object = None) -> int:
    answer = await api.client.request(method, path, headers=by(text), json=body)
    return answer.status_code


@asynccontextmanager
async def streaming(api: RunningApi, path: str) -> AsyncIterator["Streaming"]:
    async with api.client.stream("GET", path) as answer:
        assert answer.status_code == 200, await answer.aread()
        stream = Streaming()
        reading = asyncio.create_task(stream.read(answer))
        try:
            yield stream
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)


class Streaming:
    """What a stream has sent, and how it ended."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.is_broken = self.has_ended = False

    async def read(self, answer: httpx2.Response) -> None:
        decoder = EventDecoder()
        try:
            async for data in answer.aiter_bytes():
                for event in decoder.feed(data):
                    self.events.append(Event(event.cursor, event.kind, event.data))
        except httpx2.TransportError:
            self.is_broken = True
        self.has_ended = True

    def of(self, kind: str) -> list[Event]:
        return [event for event in self.events if event.kind == kind]


async def test_a_browser_follows_a_request_with_a_ticket_in_the_address(
    api: RunningApi, worker: Rig
) -> None:
    request_id = await submitted(api)
    text = await ticket(api, f"/chat/{request_id}")
    async with streaming(api, f"/chat/{request_id}/stream?ticket={text}") as stream:
        await worker.claim()
        await worker.finish("Hello")
        await wait_until(lambda: stream.has_ended, description="the stream ends")
    assert stream.of("completed")
    assert await status(api, "GET", f"/chat/{request_id}", text) == 200


async def test_a_ticket_opens_no_other_object_and_no_other_call(api: RunningApi) -> None:
    own = await submitted(api, conversation_id="c")
    other = await submitted(api)
    text = await ticket(api, f"/chat/{own}")
    for method, path in (
        ("GET", f"/chat/{other}"),
        ("GET", f"/chat/{other}/stream"),
        ("POST", f"/chat/{own}/cancel"),
        ("DELETE", f"/chat/{own}"),
        ("POST", f"/chat/{own}/ticket"),
        ("GET", "/chat"),
        ("GET", "/conversations/c"),
        ("GET", "/conversations"),
        ("POST", "/chat"),
        ("GET", "/metrics"),
        ("GET", "/v1/models"),
    ):
        assert await status(api, method, path, text) == 403, path


async def test_the_ticket_of_a_conversation_reads_writes_and_cancels_only_there(
    api: RunningApi,
) -> None:
    inside = await submitted(api, conversation_id="c")
    outside = await submitted(api, conversation_id="d")
    reads = await ticket(api, "/conversations/c")
    writes = await ticket(api, "/conversations/c", "write")
    cancels = await ticket(api, "/conversations/c", "cancel")
    message = {"message": "hi", "conversation_id": "c"}
    assert await status(api, "GET", "/conversations/c", reads) == 200
    assert await status(api, "GET", "/conversations/d", reads) == 403
    assert await status(api, "POST", "/chat", reads, message) == 403
    assert await status(api, "POST", "/chat", writes, message) == 202
    for body in ({"message": "hi"}, {"message": "hi", "conversation_id": "d"}):
        assert await status(api, "POST", "/chat", writes, body) == 403
    assert await status(api, "POST", f"/chat/{inside}/cancel", reads) == 403
    assert await status(api, "POST", f"/chat/{inside}/cancel", writes) == 403
    assert await status(api, "POST", f"/chat/{outside}/cancel", cancels) == 403
    assert await status(api, "POST", f"/chat/{inside}/cancel", cancels) == 200
    many = {"conversations": [{"conversation_id": "c"}, {"conversation_id": "d"}]}
    assert await status(api, "POST", "/streams", reads, many) == 403


async def test_a_ticket_in_the_address_is_taken_on_streams_only_and_never_logged(
    api: RunningApi,
) -> None:
    request_id = await submitted(api)
    text = await ticket(api, f"/chat/{request_id}")
    with structlog.testing.capture_logs() as logged:
        answer = await api.client.get(f"/chat/{request_id}?ticket={text}")
        assert answer.status_code == 401
        wrong = await api.client.get(f"/chat/{request_id}/stream?ticket={text[:-2]}")
        assert wrong.status_code == 401
        assert text[:-2] not in wrong.text
    assert PREFIX not in str(logged)


async def test_nobody_gives_away_a_right_that_they_do_not_have(api: RunningApi) -> None:
    request_id = await submitted(api, conversation_id="c")
    path = f"/chat/{request_id}"
    refused = await api.client.post(f"{path}/ticket", json={"rights": "cancel"}, headers=READS)
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "missing_scope")
    foreign = await api.client.post(f"{path}/ticket", json={"rights": "read"}, headers=BOB)
    assert foreign.status_code == 404
    small = await ticket(api, "/conversations/s", "write", headers=SMALL)
    message = {"message": "hi", "conversation_id": "s", "model": "big"}
    assert await status(api, "POST", "/chat", small, message) == 403
    assert await status(api, "POST", "/chat", small, {**message, "model": "small"}) == 202


async def test_the_ticket_of_a_tenant_reaches_nothing_of_another_one(api: RunningApi) -> None:
    await submitted(api, conversation_id="c")
    text = await ticket(api, "/conversations/c", headers=BOB)
    assert await status(api, "GET", "/conversations/c", text) == 404


async def test_a_ticket_that_was_changed_or_made_up_is_refused(api: RunningApi) -> None:
    request_id = await submitted(api)
    other = await submitted(api)
    text = await ticket(api, f"/chat/{request_id}")
    body, _, mac = text.removeprefix(PREFIX).partition(".")
    claims = msgspec.json.decode(base64.urlsafe_b64decode(body + "=="))
    changed = base64.urlsafe_b64encode(
        msgspec.json.encode({**claims, "object_id": other, "expires_ms": 2**50})
    ).decode()
    own = sign(msgspec.convert({**claims, "object_id": other}, Claims), b"a secret of the thief")
    all_forged = (
        f"{PREFIX}{changed.rstrip('=')}.{mac}",
        f"{PREFIX}{body}.",
        f"{PREFIX}{body}",
        f"{PREFIX}.{mac}",
        f"{PREFIX}{body}.{mac}x",
        f"{PREFIX}{body}.{mac}=",
        # Of the last character, two bits have no meaning.
        f"{PREFIX}{body}.{mac[:-1]}{ALPHABET[ALPHABET.index(mac[-1]) ^ 1]}",
        own,
        text.replace(PREFIX, ""),
        "tk1_" + "A" * 5000,
    )
    for number, forged in enumerate(all_forged):
        # From another address each time, because tries of one address are answered ever later.
        headers = {**by(forged), "X-Forwarded-For": f"192.0.2.{number}"}
        answer = await api.client.get(f"/chat/{other}", headers=headers)
        assert answer.status_code == 401


def test_a_ticket_is_verified_with_its_secret_only() -> None:
    claims = Claims(
        ticket_id="1", tenant="t", kind="chat", object_id="r", right="read", issued_ms=1,
        ttl_ms=1, expires_ms=2, ends_ms=3,
    )  # fmt: skip
    text = sign(claims, b"one")
    assert verify(text, b"one") == claims
    assert verify(text, b"two") is None
    assert all(verify(text[:n] + "!" + text[n + 1 :], b"one") is None for n in range(len(text)))


async def test_an_expired_ticket_opens_nothing_and_its_stream_ends(api: RunningApi) -> None:
    request_id = await submitted(api)
    text = await ticket(api, f"/chat/{request_id}", ttl_s=1, renewable_s=0)
    async with streaming(api, f"/chat/{request_id}/stream?ticket={text}") as stream:
        await wait_until(lambda: stream.is_broken, description="the stream ends")
    answer = await api.client.get(f"/chat/{request_id}/stream?ticket={text}")
    assert answer.status_code == 401
    assert "expired" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "path", ["/chat/{id}", pytest.param("/conversations/c", marks=pytest.mark.slow)]
)
async def test_an_open_stream_receives_new_tickets_until_their_end(
    api: RunningApi, path: str
) -> None:
    request_id = await submitted(api, conversation_id="c")
    path = path.format(id=request_id)
    first = await ticket(api, path, ttl_s=1, renewable_s=3)
    # The stream of a conversation sends a new ticket with its next heartbeat.
    api.services.streams.heartbeat_s = 0.1
    async with streaming(api, f"{path}/stream?ticket={first}") as stream:
        await wait_until(lambda: len(stream.of("ticket")) > 1, description="new tickets")
        newest = stream.of("ticket")[-1].data
        assert newest["ticket"] != first
        assert newest["expires_ms"] <= newest["ends_ms"]
        assert await status(api, "GET", path, newest["ticket"]) == 200
        await wait_until(lambda: stream.is_broken, description="the absolute end")
    assert time.time() * 1000 >= newest["ends_ms"]


@pytest.mark.parametrize("way", ["ticket", "object"])
async def test_a_revoked_ticket_ends_its_streams_and_no_others(api: RunningApi, way: str) -> None:
    request_id = await submitted(api, conversation_id="c")
    texts = {path: await ticket(api, path) for path in (f"/chat/{request_id}", "/conversations/c")}
    stolen, kept = texts
    async with (
        streaming(api, f"{stolen}/stream?ticket={texts[stolen]}") as ending,
        streaming(api, f"{kept}/stream?ticket={texts[kept]}") as staying,
    ):
        if way == "ticket":
            body, path = {"ticket": texts[stolen]}, "/tickets/revoke"
        else:
            body, path = {}, f"{stolen}/tickets/revoke"
        assert (await api.client.post(path, json=body, headers=BOB)).status_code == 404
        assert not ending.has_ended
        assert (await api.client.post(path, json=body, headers=ADA)).status_code == 204
        await wait_until(lambda: ending.is_broken, timeout_s=5, description="the stream ends")
        assert not staying.has_ended
    assert await status(api, "GET", stolen, texts[stolen]) == 401
    assert await status(api, "GET", kept, texts[kept]) == 200
    assert await status(api, "GET", stolen, await ticket(api, stolen)) == 200


async def test_a_revoked_ticket_cannot_be_used_by_what_it_was_renewed_to(api: RunningApi) -> None:
    request_id = await submitted(api)
    path = f"/chat/{request_id}"
    first = await ticket(api, path, ttl_s=1, renewable_s=60)
    async with streaming(api, f"{path}/stream?ticket={first}") as stream:
        await wait_until(lambda: bool(stream.of("ticket")), description="a new ticket")
        renewed = stream.of("ticket")[-1].data["ticket"]
        await api.client.post("/tickets/revoke", json={"ticket": first}, headers=ADA)
        await wait_until(lambda: stream.is_broken, description="the stream ends")
    assert await status(api, "GET", path, renewed) == 401


async def test_the_tickets_of_a_key_that_is_taken_away_are_void(
    redis_url: str, tmp_path: Any
) -> None:
    path = tmp_path / "keys"
    path.write_text("ada:the-key-of-ada-01\nbob:the-key-of-bob-01\n")
    timing = ApiTiming(key_reload_s=0, access_interval_s=0.02)
    async with running_api(redis_url, api_keys=f"@{path}", timing=timing) as api:
        text = await ticket(api, f"/chat/{await submitted(api)}")
        request_id = await submitted(api)
        text = await ticket(api, f"/chat/{request_id}")
        async with streaming(api, f"/chat/{request_id}/stream?ticket={text}") as stream:
            path.write_text("ada:another-key-of-ada\nbob:the-key-of-bob-01\n")
            await wait_until(lambda: stream.is_broken, description="the stream ends")
        assert await status(api, "GET", f"/chat/{request_id}", text) == 401


async def test_every_process_knows_the_tickets_of_the_others(redis_url: str) -> None:
    async with (
        running_api(redis_url, api_keys=KEYS) as one,
        running_api(redis_url, api_keys=KEYS) as two,
        running_api(redis_url, api_keys=KEYS, ticket_secret="another-secret-0123") as three,
    ):
        request_id = await submitted(one)
        text = await ticket(one, f"/chat/{request_id}")
        assert await status(two, "GET", f"/chat/{request_id}", text) == 200
        assert await status(three, "GET", f"/chat/{request_id}", text) == 401
