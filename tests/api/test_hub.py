"""The hub's guarantee: a holder of a tape has the whole log, even if pushes are lost."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.support.keyspace import KEYS
from tests.support.pushes import Deaf, lost_pushes
from tests.support.rig import Rig, open_rig
from tests.support.servers import ValkeyServer
from tests.support.wait import wait_until
from tickertape.api.fanout.hub import Hub
from tickertape.api.fanout.hub_limits import HubLimits
from tickertape.api.fanout.watched_log import WatchedLog
from tickertape.api.protocols.native.text_wire import TextWire
from tickertape.broker import request_ids
from tickertape.broker.codec import Cursor
from tickertape.runtime.settings import Settings

SETTINGS = Settings(retention_s=600, heartbeat_s=0.2)


@contextlib.asynccontextmanager
async def running_hub(rig: Rig, **limits: Any) -> AsyncIterator[Hub]:
    hub = Hub(rig.connections, SETTINGS, HubLimits(**limits))
    task = asyncio.create_task(hub.run(), name="hub")
    try:
        await wait_until(lambda: hub.is_up, description="the push connection is up")
        yield hub
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
async def rig(redis_url: str) -> AsyncIterator[Rig]:
    async with open_rig(redis_url, SETTINGS) as running:
        yield running


@pytest.fixture
async def hub(rig: Rig) -> AsyncIterator[Hub]:
    async with running_hub(rig) as running:
        yield running


def text(watched: WatchedLog) -> str:
    return b"".join(watched.tape.rendering("text", TextWire).frames).decode()


async def has(watched: WatchedLog, expected: str) -> None:
    await wait_until(
        lambda: text(watched) == expected, description=f"the tape to contain {expected!r}"
    )


async def test_a_tape_has_entries_written_before_and_after_it_was_watched(
    rig: Rig, hub: Hub
) -> None:
    request_id = await rig.begin()
    await rig.type("a", "b")
    async with hub.watch(request_id) as watched:
        assert text(watched) == "ab"
        await rig.type("c")
        await rig.finish()
        await wait_until(lambda: watched.tape.is_over, description="the terminal arrives")
        assert text(watched) == "abc"


async def test_a_finished_log_is_read_once_for_all_later_readers(rig: Rig, hub: Hub) -> None:
    request_id = await rig.begin()
    await rig.type("a")
    await rig.finish()
    async with hub.watch(request_id) as first:
        assert first.tape.is_over
    async with hub.watch(request_id) as second:
        assert second is first


async def test_a_lost_push_is_healed_by_the_next_one(rig: Rig, hub: Hub) -> None:
    request_id = await rig.begin()
    async with hub.watch(request_id) as watched:
        with lost_pushes(hub):
            await rig.type("a")
            await rig.type("b")
        await rig.type("c")
        await has(watched, "abc")


async def test_a_push_lost_at_the_end_is_healed_by_the_tail_check(rig: Rig, hub: Hub) -> None:
    request_id = await rig.begin()
    async with hub.watch(request_id) as watched:
        with lost_pushes(hub):
            await rig.type("a")
            await rig.finish()
            await wait_until(lambda: watched.tape.is_over, description="the tail check sees it")
        assert text(watched) == "a"


async def test_duplicate_and_late_pushes_change_nothing(rig: Rig, hub: Hub) -> None:
    request_id = await rig.begin()
    channel = KEYS.log_channel(request_id).encode()
    async with hub.watch(request_id) as watched:
        seen: list[bytes] = []
        original = hub.on_pushed
        hub._push._channels.listener = Recorder(hub, seen)
        await rig.type("a")
        await rig.type("b")
        await wait_until(lambda: len(seen) == 2, description="both pushes came")
        original(channel, seen[1])
        original(channel, seen[0])
        original(channel, seen[0])
        await has(watched, "ab")


async def test_a_broken_push_connection_heals_when_it_comes_back(rig: Rig, hub: Hub) -> None:
    request_id = await rig.begin()
    async with hub.watch(request_id) as watched:
        await rig.connections.ask("CLIENT", "KILL", "TYPE", "pubsub")
        await rig.type("a")
        await has(watched, "a")
        await wait_until(lambda: hub.is_up, description="the push connection is back")
        await rig.type("b")
        await has(watched, "ab")


async def test_a_log_that_is_erased_under_its_readers_is_gone(rig: Rig, hub: Hub) -> None:
    request_id = await rig.begin()
    async with hub.watch(request_id) as watched:
        await rig.connections.ask("DEL", KEYS.log(request_id))
        await wait_until(lambda: watched.is_gone, description="the tail check misses the log")


async def test_a_log_that_was_replaced_is_read_from_its_first_entry(rig: Rig, hub: Hub) -> None:
    request_id = await rig.begin()
    await rig.type("a")
    async with hub.watch(request_id) as watched:
        saved = await rig.connections.ask("DUMP", KEYS.log(request_id))
        await rig.type("b")
        await has(watched, "ab")
        await rig.connections.ask("RESTORE", KEYS.log(request_id), 0, saved, "REPLACE")
        await has(watched, "a")
        assert watched.epoch == 1


async def test_the_reply_to_a_tail_query_from_before_the_end_does_not_undo_the_end(
    rig: Rig, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tape is kept for later readers, and a finished tape is never healed."""
    request_id = await rig.begin()
    other = await rig.submit()
    tails, checks = hub._logs.tails, 0

    async with hub.watch(other), hub.watch(request_id) as watched:
        saved = await rig.connections.ask("DUMP", KEYS.log(request_id))

        async def answered_late(request_ids: list[str]) -> list[Cursor | None]:
            nonlocal checks
            answer = await tails(request_ids)
            if request_id in request_ids:
                await rig.finish()
                await wait_until(lambda: watched.tape.is_over, description="the terminal arrives")
                restored = ("RESTORE", KEYS.log(request_id), 0, saved, "REPLACE")
                await rig.connections.ask(*restored)
            checks += 1
            return answer

        monkeypatch.setattr(hub._logs, "tails", answered_late)
        await wait_until(lambda: checks >= 2, description="the tails are looked at again")
        assert (watched.tape.is_over, watched.epoch) == (True, 0)
        async with hub.watch(request_id) as later:
            assert later is watched


async def test_a_trimmed_log_is_read_from_its_first_remaining_entry(rig: Rig, hub: Hub) -> None:
    request_id = await rig.begin()
    await rig.type("a", "b", "c")
    await rig.connections.ask("XTRIM", KEYS.log(request_id), "MAXLEN", 2)
    async with hub.watch(request_id) as watched:
        assert text(watched) == "bc"
        await rig.type("d")
        await has(watched, "bcd")


async def test_a_long_log_is_read_page_by_page(rig: Rig, hub: Hub) -> None:
    request_id = await rig.begin()
    for _ in range(25):
        await rig.type(*["x"] * 100)
    async with hub.watch(request_id) as watched:
        assert text(watched) == "x" * 2500


async def test_a_reset_follows_the_output_that_it_discards(rig: Rig, hub: Hub) -> None:
    request_id = await rig.begin()
    async with hub.watch(request_id) as watched:
        await rig.type("a")
        await rig.reopen()
        await rig.type("b")
        await rig.finish()
        await wait_until(lambda: watched.tape.is_over, description="the terminal arrives")
        kinds = [entry.kind for entry in watched.tape.entries()]
    assert kinds == ["queued", "started", "delta", "reset", "delta", "completed"]


async def test_a_restart_of_redis_loses_nothing(own_redis: ValkeyServer) -> None:
    async with open_rig(own_redis.url, SETTINGS) as rig, running_hub(rig) as hub:
        request_id = await rig.begin()
        await rig.type("a")
        async with hub.watch(request_id) as watched:
            own_redis.kill()
            own_redis.start()
            await rig.type("b")
            await has(watched, "ab")


async def test_a_log_without_readers_is_released(rig: Rig) -> None:
    request_id = await rig.begin()
    async with running_hub(rig, linger_s=0.01) as hub:
        async with hub.watch(request_id):
            assert request_id in hub._watched
        await wait_until(lambda: request_id not in hub._watched, description="the tape is let go")


async def test_a_hub_that_stops_waits_for_the_reads_that_it_cancels(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_reading, has_ended = asyncio.Event(), False

    async def hard_to_end(*_: object) -> None:
        nonlocal has_ended
        is_reading.set()
        try:
            await asyncio.Event().wait()
        finally:
            await rig.connections.ask("PING")
            has_ended = True

    monkeypatch.setattr("tickertape.broker.log.Logs.read_page", hard_to_end)
    async with running_hub(rig) as hub:
        acquiring = asyncio.create_task(hub.acquire(request_ids.new_request_id(0)))
        await is_reading.wait()
    assert has_ended
    acquiring.cancel()
    await asyncio.gather(acquiring, return_exceptions=True)


class Recorder(Deaf):
    """Keeps pushes until the test delivers them."""

    def __init__(self, hub: Hub, seen: list[bytes]) -> None:
        super().__init__(hub)
        self._seen = seen

    def on_pushed(self, channel: bytes, message: bytes) -> None:
        self._seen.append(message)
