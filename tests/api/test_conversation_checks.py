"""Readers of conversations that wait learn by a common check of what nobody has pushed."""

import asyncio
import contextlib
from collections.abc import Sequence
from contextlib import aclosing

import pytest

from tests.api.test_conversation_notices import title_of
from tests.api.test_conversations import next_kind, say
from tests.support.keyspace import KEYS
from tests.support.rig import TENANT, Rig
from tests.support.running_api import running_api
from tests.support.sse import EventStream, open_stream
from tests.support.wait import wait_until
from tickertape.api.fanout.conversation_checks import ConversationChecks
from tickertape.broker.conversation_states import ConversationState, ConversationStates
from tickertape.broker.conversations import Conversations
from tickertape.broker.errors import Unavailable
from tickertape.broker.submission import conversation_key
from tickertape.broker.task_faults import TaskFaults

PERIOD_S = 0.1


class RecordedStates(ConversationStates):
    """Records the checks in place of Redis, which can be away."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, Sequence[str]]] = []
        self.is_away = False

    async def read(self, partition: int, keys: Sequence[str]) -> list[ConversationState]:
        self.asked.append((partition, keys))
        if self.is_away:
            raise Unavailable
        return [ConversationState(len(key), None, ()) for key in keys]


async def beats(stream: EventStream, count: int) -> None:
    """Wait for so many more heartbeats; a task has to read the stream."""
    most = stream.parser.heartbeat_count + count
    await wait_until(lambda: stream.parser.heartbeat_count >= most, description="heartbeats")


async def test_each_conversation_is_checked_once_in_a_period_many_in_a_call() -> None:
    states = RecordedStates()
    checks = ConversationChecks(states, TaskFaults(), PERIOD_S)
    seen: list[ConversationState] = []
    places = [(number % 2, f"{number}") for number in range(1600)]
    with contextlib.ExitStack() as readers:
        for place in places:
            readers.enter_context(checks.join(place, seen.append))
        running = asyncio.create_task(checks.run())
        await wait_until(lambda: len(seen) >= 3200, description="two periods")
        running.cancel()
    checked = [(partition, key) for partition, keys in states.asked for key in keys]
    assert {len(keys) for _, keys in states.asked} == {50}
    assert set(checked[:1600]) == set(checked[1600:3200]) == set(places)


async def test_a_reader_that_left_gets_no_state() -> None:
    checks = ConversationChecks(RecordedStates(), TaskFaults(), 0)
    left: list[ConversationState] = []
    stays: list[ConversationState] = []
    with checks.join((0, "k"), stays.append):
        with checks.join((0, "k"), left.append):
            pass
        running = asyncio.create_task(checks.run())
        await wait_until(lambda: stays, description="a check")
        running.cancel()
    assert left == []


async def test_checks_go_on_after_redis_was_away() -> None:
    states = RecordedStates()
    states.is_away = True
    checks = ConversationChecks(states, TaskFaults(), 0)
    seen: list[ConversationState] = []
    with checks.join((0, "k"), seen.append):
        running = asyncio.create_task(checks.run())
        await wait_until(lambda: states.asked, description="a check that fails")
        states.is_away = False
        await wait_until(lambda: seen, description="a check")
        running.cancel()


async def test_a_reader_that_waits_learns_of_what_nobody_has_pushed(
    redis_url: str, worker: Rig
) -> None:
    key = conversation_key(TENANT, "c1")
    async with running_api(redis_url, heartbeat_s=PERIOD_S) as api:
        await say(api, worker, "one")
        async with (
            open_stream(f"{api.url}/conversations/c1/stream", shows_watchers=True) as stream,
            aclosing(aiter(stream)) as events,
        ):
            await next_kind(events, "completed")
            await worker.connections.ask("HSET", KEYS.conversation(0, key), "title", "Rome")
            assert await title_of(events) == "Rome"
            await worker.connections.ask("DEL", KEYS.conversation(0, key), KEYS.turns(0, key))
            assert (await next_kind(events, "rewind")) == {"reason": "forgotten"}


async def test_a_reader_that_waits_reads_the_turns_only_when_they_have_changed(
    redis_url: str, worker: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    outlines = Conversations.outlines

    async def noted(self: Conversations, partition: int, key: str) -> object:
        read.append(key)
        return await outlines(self, partition, key)

    monkeypatch.setattr(Conversations, "outlines", noted)
    async with running_api(redis_url, heartbeat_s=PERIOD_S) as api:
        await say(api, worker, "one")
        async with (
            open_stream(f"{api.url}/conversations/c1/stream") as stream,
            aclosing(aiter(stream)) as events,
        ):
            await next_kind(events, "completed")
            reading = asyncio.create_task(next_kind(events, "completed"))
            await beats(stream, 2)
            before = len(read)
            await beats(stream, 5)
            assert len(read) == before
            await say(api, worker, "two")
            await reading
            assert len(read) > before
