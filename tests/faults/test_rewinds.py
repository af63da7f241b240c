"""Readers start over only if they have to, and then drop their cursor."""

import asyncio
from contextlib import aclosing

import pytest

from tests.support.pushes import lost_pushes
from tests.support.rig import Rig, open_rig
from tests.support.running_api import RunningApi, running_api
from tests.support.servers import ValkeyServer
from tests.support.sse import Event, follow
from tests.support.wait import wait_until
from tickertape.broker.conversation_states import ConversationState
from tickertape.broker.conversations import Conversations
from tickertape.broker.errors import Unavailable

QUIET_S = 60  # so rare that no tail check heals the tape


async def read(url: str, until: str, after: str | None = None) -> list[Event]:
    """The events up to the first one of a kind."""
    events: list[Event] = []
    headers = {"Last-Event-ID": after} if after else None
    async with aclosing(follow(url, headers)) as arriving:
        async for event in arriving:
            events.append(event)
            if event.kind == until:
                return events
    return events


async def last_cursor(api: RunningApi, request_id: str) -> str:
    return str((await api.services.logs.entries(request_id))[-1].cursor)


async def test_a_reader_ahead_of_this_process_does_not_start_over(redis_url: str) -> None:
    async with running_api(redis_url, heartbeat_s=QUIET_S) as api, open_rig(redis_url) as rig:
        request_id = await rig.begin()
        hub = api.services.streams.hub
        async with hub.watch(request_id):
            with lost_pushes(hub):
                await rig.type("a", "b")
                elsewhere = await last_cursor(api, request_id)
            url = f"{api.url}/chat/{request_id}/stream"
            reading = asyncio.create_task(read(url, "completed", elsewhere))
            await wait_until(lambda: api.services.streams.open_streams, description="it reads")
            await rig.type("c")
            await rig.finish()
            assert [event.kind for event in await reading] == ["delta", "completed"]


async def test_a_reader_ahead_in_a_conversation_does_not_start_over(redis_url: str) -> None:
    async with running_api(redis_url, heartbeat_s=QUIET_S) as api, open_rig(redis_url) as rig:
        request_id = await rig.begin(conversation_id="c")
        hub = api.services.streams.hub
        async with hub.watch(request_id) as watched:
            with lost_pushes(hub):
                await rig.type("a", "b")
                elsewhere = await last_cursor(api, request_id)
            url = f"{api.url}/conversations/c/stream"
            reading = asyncio.create_task(read(url, "completed", f"{request_id}:{elsewhere}"))
            await wait_until(
                lambda: str(watched.tape.last) == elsewhere, description="the tape to catch up"
            )
            await rig.type("c")
            await rig.finish()
            assert [event.kind for event in await reading] == ["delta", "completed"]


async def test_a_rewind_makes_an_eventsource_forget_its_cursor(
    api: RunningApi, worker: Rig
) -> None:
    request_id = await worker.begin()
    await worker.type("a")
    events = await read(f"{api.url}/chat/{request_id}/stream", "delta", after="1-1")
    assert [(e.kind, e.cursor) for e in events[:1]] == [("rewind", "")]
    assert [event.kind for event in events] == ["rewind", "queued", "started", "delta"]


async def test_a_conversation_does_not_count_as_forgotten_while_redis_is_unreachable(
    own_redis: ValkeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = Conversations.state  # the first command of each look at a conversation
    has_failed = asyncio.Event()

    async def noted_look(self: Conversations, partition: int, key: str) -> ConversationState:
        try:
            return await look(self, partition, key)
        except Unavailable:
            has_failed.set()
            raise

    monkeypatch.setattr(Conversations, "state", noted_look)
    async with (
        running_api(own_redis.url, heartbeat_s=0.1) as api,
        open_rig(own_redis.url) as rig,
    ):
        await rig.begin(conversation_id="c")
        await rig.type("a")
        await rig.finish()
        events: list[Event] = []
        is_over = asyncio.Event()

        async def keep_reading() -> None:
            url = f"{api.url}/conversations/c/stream"
            async for event in follow(url, until_terminal=False):
                events.append(event)
                if event.kind == "completed":
                    is_over.set()

        reading = asyncio.create_task(keep_reading())
        await is_over.wait()
        own_redis.kill()
        await has_failed.wait()
        api.services.streams.drain()
        await reading
        own_redis.start()
        assert [event.kind for event in events] == ["queued", "started", "delta", "completed"]
