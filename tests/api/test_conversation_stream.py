"""A conversation's stream: its start, its reports of lost logs, and its end."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest

from tests.support.keyspace import KEYS
from tests.support.rig import Rig
from tests.support.running_api import RunningApi, running_api
from tests.support.sse import Event, EventStream, open_stream, text_of
from tests.support.wait import wait_until
from tickertape.api.fanout.hub import Hub
from tickertape.api.fanout.watched_log import WatchedLog
from tickertape.api.services import ApiTiming
from tickertape.broker import request_ids
from tickertape.broker.conversations import Conversations
from tickertape.broker.errors import Unavailable
from tickertape.broker.turns import Turn

WHOLE = ["queued", "started", "delta", "delta", "completed"]


async def begin(worker: Rig, message: str = "hi") -> str:
    messages = [{"role": "user", "content": message}]
    return await worker.begin(conversation_id="c1", question=messages)


async def answer(worker: Rig, *texts: str, message: str = "hi") -> str:
    request_id = await begin(worker, message)
    for text in texts:
        await worker.type(text)
    await worker.finish(answered="".join(texts))
    return request_id


async def queue_next(worker: Rig) -> tuple[str, str]:
    """Submit a turn that waits; its id, and the place behind its first entry."""
    question = [{"role": "user", "content": "and?"}]
    request_id = await worker.submit(conversation_id="c1", question=question)
    return request_id, f"{request_id}:{(await worker.entries(request_id))[0].cursor}"


async def forget_log(worker: Rig, request_id: str) -> None:
    await worker.connections.ask("DEL", KEYS.log(request_id))


@contextlib.asynccontextmanager
async def conversation(api: RunningApi, after: str | None = None) -> AsyncIterator[EventStream]:
    url = f"{api.url}/conversations/c1/stream"
    async with open_stream(url, {"Last-Event-ID": after} if after else None) as stream:
        assert stream.status == 200
        yield stream


async def take(api: RunningApi, count: int, after: str | None = None) -> list[Event]:
    """The first events after a cursor."""
    events: list[Event] = []
    async with conversation(api, after) as stream, aclosing(aiter(stream)) as arriving:
        async for event in arriving:
            events.append(event)
            if len(events) == count:
                break
    return events


def kinds(events: list[Event]) -> list[str]:
    return [event.kind for event in events]


def ids(events: list[Event]) -> list[str]:
    return [event.data["request_id"] for event in events]


async def test_a_new_reader_gets_all_requests_in_the_order_of_their_submits(
    api: RunningApi, worker: Rig
) -> None:
    first, second = await answer(worker, "a", "b"), await answer(worker, "c", "d")
    events = await take(api, 10)
    assert kinds(events) == WHOLE * 2
    assert ids(events) == [first] * 5 + [second] * 5
    assert [text_of(events[:5]), text_of(events[5:])] == ["ab", "cd"]
    assert all(str(event.cursor).startswith(f"{event.data['request_id']}:") for event in events)


async def test_a_reader_can_resume_a_conversation_after_every_event(
    api: RunningApi, worker: Rig
) -> None:
    await answer(worker, "a", "b")
    await answer(worker, "c", "d")
    events = await take(api, 10)
    for number, event in enumerate(events[:-1], start=1):
        assert await take(api, 10 - number, after=event.cursor) == events[number:]


async def test_a_reader_that_has_every_event_gets_only_later_requests(
    api: RunningApi, worker: Rig
) -> None:
    await answer(worker, "a", "b")
    place = (await take(api, 5))[-1].cursor
    async with conversation(api, after=place) as stream, aclosing(aiter(stream)) as arriving:
        later = await answer(worker, "c")
        event = await anext(arriving)
    assert (event.kind, event.data["request_id"]) == ("queued", later)


async def test_a_position_in_a_forgotten_request_starts_the_conversation_over(
    api: RunningApi, worker: Rig
) -> None:
    known = await answer(worker, "a", "b")
    events = await take(api, 6, after=f"{request_ids.new_request_id(0)}:1732300000000-1")
    assert kinds(events) == ["rewind", *WHOLE]
    assert events[0].data == {"reason": "cursor_not_found"}
    assert ids(events[1:]) == [known] * 5


@pytest.mark.parametrize("entry", ["1732300000000-7", "0-0"])
async def test_a_cursor_that_its_request_never_had_starts_the_conversation_over(
    api: RunningApi, worker: Rig, entry: str
) -> None:
    """A fail-over may have lost it, and with it the end of the turn before."""
    first = await answer(worker, "a", "b")
    second = await answer(worker, "c", "d")
    events = await take(api, 11, after=f"{second}:{entry}")
    assert kinds(events) == ["rewind", *WHOLE, *WHOLE]
    assert events[0].data == {"reason": "cursor_not_found"}
    assert ids(events[1:]) == [first] * 5 + [second] * 5


@pytest.mark.parametrize(
    "place", ["nowhere", ":1-1", "1732300000000-1", "r0_short:1-1", "{id}", "{id}:", "{id}:x"]
)
async def test_a_malformed_last_event_id_is_refused(
    api: RunningApi, worker: Rig, place: str
) -> None:
    request_id = await answer(worker, "a")
    refused = await api.client.get(
        "/conversations/c1/stream", params={"after": place.format(id=request_id)}
    )
    assert refused.status_code == 400
    assert refused.json()["error"]["code"] == "invalid_cursor"


async def test_an_expired_log_leaves_the_message_and_the_answer(
    api: RunningApi, worker: Rig
) -> None:
    expired = await answer(worker, "a", "b", message="why?")
    kept = await answer(worker, "c", "d")
    await forget_log(worker, expired)
    events = await take(api, 7)
    assert kinds(events) == ["queued", "snapshot", *WHOLE]
    assert ids(events) == [expired] * 2 + [kept] * 5
    assert events[0].data["messages"] == [{"role": "user", "content": "why?"}]
    assert events[1].data["status"] == "completed"
    assert text_of(events[:2]) == "ab"


async def test_an_expired_log_without_an_answer_leaves_only_the_message(
    api: RunningApi, worker: Rig
) -> None:
    expired = await begin(worker, "why?")
    await worker.fail()
    kept = await answer(worker, "c", "d")
    await forget_log(worker, expired)
    events = await take(api, 7)
    assert kinds(events) == ["queued", "gone", *WHOLE]
    assert ids(events) == [expired] * 2 + [kept] * 5
    assert events[0].data["messages"] == [{"role": "user", "content": "why?"}]


async def test_an_expired_log_of_a_stopped_request_leaves_the_text(
    api: RunningApi, worker: Rig
) -> None:
    expired = await begin(worker, "why?")
    await worker.type("half")
    await api.client.post(f"/chat/{expired}/cancel")
    await forget_log(worker, expired)
    events = await take(api, 2)
    assert kinds(events) == ["queued", "snapshot"]
    assert events[1].data["text"] == "half"
    assert events[1].data["status"] == "cancelled"


async def test_a_cursor_of_a_log_that_has_expired_gets_the_remembered_answer(
    api: RunningApi, worker: Rig
) -> None:
    expired = await answer(worker, "a", "b")
    cursor = (await api.read(expired))["cursor"]
    await forget_log(worker, expired)
    events = await take(api, 2, after=f"{expired}:{cursor}")
    assert kinds(events) == ["queued", "snapshot"]
    assert text_of(events) == "ab"


async def test_readers_of_a_conversation_are_notified_when_it_is_forgotten(
    api: RunningApi, worker: Rig
) -> None:
    await answer(worker, "a", "b")
    async with conversation(api) as stream, aclosing(aiter(stream)) as arriving:
        for kind in WHOLE:
            assert (await anext(arriving)).kind == kind
        assert (await api.client.delete("/conversations/c1")).status_code == 204
        event = await anext(arriving)
        assert (event.kind, event.data) == ("rewind", {"reason": "forgotten"})
        again = await answer(worker, "c", "d")
        events = [await anext(arriving) for _ in WHOLE]
    assert kinds(events) == WHOLE
    assert set(ids(events)) == {again}


async def test_a_conversation_that_is_forgotten_and_recreated_at_once_is_another_one(
    api: RunningApi, worker: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    await answer(worker, "a", "b")
    async with conversation(api) as stream, aclosing(aiter(stream)) as arriving:
        for kind in WHOLE:
            assert (await anext(arriving)).kind == kind
        with monkeypatch.context() as held:
            is_begun_anew = asyncio.Event()
            look = Conversations.outlines

            async def late_look(self: Conversations, partition: int, key: str) -> list[Turn]:
                await is_begun_anew.wait()
                return await look(self, partition, key)

            held.setattr(Conversations, "outlines", late_look)
            assert (await api.client.delete("/conversations/c1")).status_code == 204
            new = await begin(worker)
            is_begun_anew.set()
            events = [await anext(arriving) for _ in range(3)]
    assert kinds(events) == ["rewind", "queued", "started"]
    assert events[0].data == {"reason": "forgotten"}
    assert ids(events[1:]) == [new] * 2


async def test_a_log_whose_read_fails_is_read_at_the_next_check(
    redis_url: str, worker: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    await answer(worker, "a", "b")
    await answer(worker, "c", "d")
    refused: list[str] = []
    acquire = Hub.acquire

    async def flaky(hub: Hub, request_id: str, **options: Any) -> WatchedLog:
        if len(refused) < 2:
            refused.append(request_id)
            raise Unavailable
        return await acquire(hub, request_id, **options)

    monkeypatch.setattr(Hub, "acquire", flaky)
    async with running_api(redis_url, timing=ApiTiming(unavailable_pause_s=0.01)) as api:
        events = await take(api, 10)
    assert kinds(events) == WHOLE * 2
    assert len(refused) == 2


async def test_a_shutdown_ends_an_idle_conversation_with_a_time_to_reconnect(
    redis_url: str,
) -> None:
    async with running_api(redis_url, heartbeat_s=0.1) as api, conversation(api) as stream:
        reading = asyncio.create_task(rest_of(stream))
        await wait_until(
            lambda: stream.parser.heartbeat_count >= 2, description="heartbeats arrive meanwhile"
        )
        api.services.streams.drain()
        assert await reading == []
        assert stream.parser.retry_ms is not None


async def test_a_shutdown_ends_a_conversation_in_the_middle_of_an_answer(
    api: RunningApi, worker: Rig
) -> None:
    await begin(worker)
    await worker.submit(conversation_id="c1")
    async with conversation(api) as stream, aclosing(aiter(stream)) as arriving:
        assert [(await anext(arriving)).kind for _ in range(2)] == ["queued", "started"]
        api.services.streams.drain()
        assert [event async for event in arriving] == []
        assert stream.parser.retry_ms is not None


async def test_a_shutdown_ends_a_conversation_that_waits_for_a_log(
    api: RunningApi, worker: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    await begin(worker)
    streams = api.services.streams
    acquire = streams.hub.acquire

    async def acquire_at_the_end(request_id: str, **options: Any) -> WatchedLog:
        watched = await acquire(request_id, **options)
        streams.drain()
        return watched

    monkeypatch.setattr(streams.hub, "acquire", acquire_at_the_end)
    async with conversation(api) as stream:
        assert await rest_of(stream) == []
        assert stream.parser.retry_ms is not None


async def rest_of(stream: EventStream) -> list[Event]:
    return [event async for event in stream]
